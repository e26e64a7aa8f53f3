//! Prefix tree of tokenized nouns, for guides and vocabulary priors
//! (`decoder.md` section 12).

use crate::decoder::error::DecoderError;

/// Token that ends a noun; also the padding token.
pub const END: u32 = 0;

/// A node of a [`NounTrie`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// Number of the node: below [`NounTrie::node_count`], larger than that of
    /// its parent.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    token: u32,
    first_child: u32,
    children: u32,
    /// Range of the nouns below in `order`.
    first_noun: u32,
    nouns: u32,
}

/// Nouns as a tree of tokens: 20 bytes per node, children sorted by token.
#[derive(Clone, Debug)]
pub struct NounTrie {
    nodes: Vec<Node>,
    /// Noun indices in lexicographic order of their tokens.
    order: Vec<u32>,
    /// Different rows of tokens.
    distinct: usize,
    max_len: usize,
}

impl NounTrie {
    /// Tree of `nouns`: token ids, each with its end token and nothing behind.
    ///
    /// # Errors
    /// An empty list, an empty noun, a noun without end token.
    pub fn new<T: AsRef<[u32]>>(nouns: &[T]) -> Result<Self, DecoderError> {
        let fail = |reason: String| Err(DecoderError::Nouns { reason });
        if nouns.is_empty() {
            return fail("it is empty".to_owned());
        }
        for (index, noun) in nouns.iter().enumerate() {
            match noun.as_ref().split_last() {
                Some((&END, content)) if !content.is_empty() && !content.contains(&END) => {}
                _ => {
                    return fail(format!(
                        "noun number {} is empty or not closed by one end token: remove it",
                        index + 1
                    ));
                }
            }
        }
        let mut order: Vec<u32> = (0..nouns.len() as u32).collect();
        let tokens = |noun: u32| nouns[noun as usize].as_ref();
        order.sort_by(|&a, &b| tokens(a).cmp(tokens(b)).then(a.cmp(&b)));

        let mut nodes = vec![Node {
            token: END,
            first_child: 0,
            children: 0,
            first_noun: 0,
            nouns: nouns.len() as u32,
        }];
        // Level by level: the children of a node get consecutive numbers.
        let mut level = 0..1;
        let mut depth = 0;
        while !level.is_empty() {
            let end = nodes.len();
            for index in level.clone() {
                let Node {
                    first_noun, nouns, ..
                } = nodes[index];
                let first_child = nodes.len() as u32;
                let below = &order[first_noun as usize..(first_noun + nouns) as usize];
                let mut start = 0;
                while start < below.len() {
                    let Some(&token) = tokens(below[start]).get(depth) else {
                        break; // behind the end token
                    };
                    let size = below[start..]
                        .partition_point(|&noun| tokens(noun).get(depth) == Some(&token));
                    nodes.push(Node {
                        token,
                        first_child: 0,
                        children: 0,
                        first_noun: first_noun + start as u32,
                        nouns: size as u32,
                    });
                    start += size;
                }
                nodes[index].first_child = first_child;
                nodes[index].children = nodes.len() as u32 - first_child;
            }
            level = end..nodes.len();
            depth += 1;
        }
        // Every noun is closed by an end token, and nothing else has one.
        let ends = nodes[1..].iter().filter(|node| node.token == END);
        Ok(Self {
            distinct: ends.count(),
            nodes,
            order,
            max_len: depth - 1,
        })
    }

    /// The node of the empty prefix.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, parents before their children.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// Number of nouns.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Number of nouns with different tokens: what can be generated.
    pub fn distinct(&self) -> usize {
        self.distinct
    }

    /// Nouns that have the tokens of an earlier noun, each with that one.
    pub fn repeated(&self) -> Vec<(u32, u32)> {
        let ends = self
            .nodes()
            .skip(1)
            .filter(|&node| self.child_count(node) == 0);
        let mut repeated: Vec<(u32, u32)> = ends
            .filter_map(|node| self.nouns(node).split_first())
            .flat_map(|(&first, others)| others.iter().map(move |&other| (other, first)))
            .collect();
        repeated.sort_unstable();
        repeated
    }

    /// Always false: a trie has at least one noun.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Length of the longest noun in tokens, end token included.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// Largest token id.
    pub fn max_token(&self) -> u32 {
        self.nodes
            .iter()
            .map(|node| node.token)
            .max()
            .unwrap_or(END)
    }

    /// Number of nouns with the prefix of `node`.
    pub fn count(&self, node: NodeId) -> usize {
        self.node(node).nouns as usize
    }

    /// Number of distinct tokens that continue `node`.
    pub fn child_count(&self, node: NodeId) -> usize {
        self.node(node).children as usize
    }

    /// Tokens that continue `node`, ascending, with their nodes.
    pub fn children(&self, node: NodeId) -> impl ExactSizeIterator<Item = (u32, NodeId)> + '_ {
        let node = self.node(node);
        (node.first_child..node.first_child + node.children)
            .map(|child| (self.nodes[child as usize].token, NodeId(child)))
    }

    /// The node that `token` leads to.
    pub fn child(&self, node: NodeId, token: u32) -> Option<NodeId> {
        let node = self.node(node);
        let range = node.first_child as usize..(node.first_child + node.children) as usize;
        let at = self.nodes[range]
            .binary_search_by_key(&token, |child| child.token)
            .ok()?;
        Some(NodeId(node.first_child + at as u32))
    }

    /// The node of a prefix, if a noun has it.
    pub fn find(&self, prefix: &[u32]) -> Option<NodeId> {
        prefix
            .iter()
            .try_fold(self.root(), |node, &token| self.child(node, token))
    }

    /// Indices of the nouns with the prefix of `node`; ascending where the node
    /// is a complete noun.
    pub fn nouns(&self, node: NodeId) -> &[u32] {
        let node = self.node(node);
        &self.order[node.first_noun as usize..(node.first_noun + node.nouns) as usize]
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nouns() -> impl Strategy<Value = Vec<Vec<u32>>> {
        let noun = prop::collection::vec(1u32..5, 1..5).prop_map(|mut noun| {
            noun.push(END);
            noun
        });
        prop::collection::vec(noun, 1..40)
    }

    proptest! {
        #[test]
        fn every_prefix_has_the_counts_of_a_scan(nouns in nouns(), probe in prop::collection::vec(0u32..5, 0..5)) {
            let trie = NounTrie::new(&nouns).unwrap();
            let with = |prefix: &[u32]| nouns.iter().filter(|noun| noun.starts_with(prefix)).count();
            match trie.find(&probe) {
                None => prop_assert_eq!(with(&probe), 0),
                Some(node) => {
                    prop_assert_eq!(trie.count(node), with(&probe));
                    let children: Vec<u32> = trie.children(node).map(|(token, _)| token).collect();
                    let expected: Vec<u32> = (0..5)
                        .filter(|&token| with(&[&probe[..], &[token]].concat()) > 0)
                        .collect();
                    prop_assert_eq!(&children, &expected);
                    for &noun in trie.nouns(node) {
                        prop_assert!(nouns[noun as usize].starts_with(&probe));
                    }
                }
            }
            let different: std::collections::BTreeSet<_> = nouns.iter().collect();
            prop_assert_eq!(trie.distinct(), different.len());
            let repeated = trie.repeated();
            prop_assert_eq!(repeated.len(), nouns.len() - different.len());
            for (other, first) in repeated {
                prop_assert!(first < other);
                prop_assert_eq!(&nouns[other as usize], &nouns[first as usize]);
            }
            prop_assert_eq!(trie.max_len(), nouns.iter().map(Vec::len).max().unwrap());
        }
    }

    #[test]
    fn unusable_lists_are_refused() {
        for nouns in [
            vec![],
            vec![vec![END]],
            vec![vec![1]],
            vec![vec![1, END, END]],
        ] {
            assert!(NounTrie::new::<Vec<u32>>(&nouns).is_err(), "{nouns:?}");
        }
    }
}
