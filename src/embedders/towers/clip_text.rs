//! The text tower of open_clip (`embedders.md` section 5.3).
//!
//! Causal towers see only what comes before, so all texts of a call are laid
//! out as one prefix tree: a token state that several texts share ("a photo of
//! a …") is computed once, nothing is padded, and states behind the pooled
//! position are never computed. Towers without a causal mask compute every
//! position, padding included, because padding takes part in their attention.

use candle_core::Tensor;

use super::TextTower;
use super::tap::tap;
use super::transformer::{Block, BlockShape, LayerNorm, Linear, Visibility};
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::{Pooling, TextConfig};
use crate::embedders::weights::Parameters;
use crate::ops::attention::KeyPaths;
use crate::ops::linear::Activation;

/// The tower with its parameters.
pub struct ClipText {
    /// `[V, D]`, in the precision of matrices.
    token_embedding: Tensor,
    /// `[T, D]`
    positional_embedding: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
    config: TextConfig,
    pad_id: i64,
}

impl ClipText {
    /// Takes the parameters; names as in a checkpoint without `custom_text`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &TextConfig,
        pad_id: i64,
    ) -> Result<Self, EmbedderError> {
        let width = config.width;
        let shape = BlockShape {
            width,
            heads: config.heads,
            hidden: config.hidden,
            activation: config.activation,
            eps: config.eps,
            layer_scale: config.layer_scale,
        };
        let stack = parameters.under("transformer.resblocks");
        let projection = if config.projection_bias {
            Linear::load(
                &parameters.under("text_projection"),
                width,
                config.embed_dim,
            )?
        } else {
            Linear::load_projection(parameters, "text_projection", width, config.embed_dim)?
        };
        Ok(Self {
            token_embedding: parameters
                .matrix("token_embedding.weight", &[config.vocab_size, width])?,
            positional_embedding: parameters
                .take("positional_embedding", &[config.context_length, width])?,
            blocks: (0..config.layers)
                .map(|n| Block::load(&stack.under(n), shape))
                .collect::<Result<_, _>>()?,
            norm: LayerNorm::load(&parameters.under("ln_final"), width, config.eps)?,
            projection,
            config: config.clone(),
            pad_id,
        })
    }

    /// Tokens up to the pooled position; nothing behind it matters.
    fn until_pooled(&self, text: &[i64]) -> Vec<i64> {
        let mut tokens = text.to_vec();
        match self.config.pooling {
            Pooling::First => tokens.truncate(1),
            Pooling::LargestId => {
                let padded = tokens.len() < self.config.context_length;
                if padded {
                    tokens.push(self.pad_id);
                }
                let largest = tokens.iter().max().copied();
                let position = tokens.iter().position(|&id| Some(id) == largest);
                tokens.truncate(position.unwrap_or(0) + 1);
            }
            Pooling::FirstOf(wanted) => {
                if tokens.len() < self.config.context_length {
                    tokens.push(self.pad_id);
                }
                let position = tokens.iter().position(|&id| id == wanted);
                tokens.truncate(position.unwrap_or(0) + 1);
            }
            Pooling::Last | Pooling::Mean | Pooling::ClassToken => {
                tokens.resize(self.config.context_length, self.pad_id);
            }
        }
        tokens
    }

    fn forward_tree(&self, texts: &[&[i64]]) -> candle_core::Result<Tensor> {
        let texts: Vec<Vec<i64>> = texts.iter().map(|text| self.until_pooled(text)).collect();
        let tree = PrefixTree::new(&texts);
        let x = self.embed(&tree.tokens, &tree.positions)?;
        let pooled = self.run(
            x,
            &tree.ends,
            Visibility::Paths(&tree.paths),
            Visibility::Paths(&tree.end_paths),
        )?;
        let count = tree.end_of_text.len();
        let ends = Tensor::from_vec(tree.end_of_text, count, pooled.device())?;
        pooled.index_select(&ends, 0)
    }

    fn forward_padded(&self, texts: &[&[i64]]) -> candle_core::Result<Tensor> {
        let (batch, length) = (texts.len(), self.config.context_length);
        let mut tokens = Vec::with_capacity(batch * length);
        let mut pooled = Vec::with_capacity(batch);
        for text in texts {
            let start = tokens.len();
            tokens.extend(text.iter().map(|&id| id as u32));
            tokens.resize(start + length, self.pad_id as u32);
            let ids = &tokens[start..];
            let position = match self.config.pooling {
                Pooling::First => 0,
                Pooling::LargestId => {
                    let largest = ids.iter().max();
                    ids.iter().position(|id| Some(id) == largest).unwrap_or(0)
                }
                Pooling::FirstOf(wanted) => {
                    let position = ids.iter().position(|&id| i64::from(id) == wanted);
                    position.unwrap_or(0)
                }
                Pooling::Last | Pooling::Mean | Pooling::ClassToken => length - 1,
            };
            pooled.push((start + position) as u32);
        }
        let positions: Vec<u32> = (0..batch).flat_map(|_| 0..length as u32).collect();
        let x = self.embed(&tokens, &positions)?;
        let visibility = Visibility::Sequences { batch };
        self.run(x, &pooled, visibility, visibility)
    }

    /// Token plus position embedding, `[R, D]`.
    fn embed(&self, tokens: &[u32], positions: &[u32]) -> candle_core::Result<Tensor> {
        let index = |ids: &[u32]| Tensor::new(ids, self.token_embedding.device());
        let tokens = self.token_embedding.index_select(&index(tokens)?, 0)?;
        tokens.to_dtype(self.positional_embedding.dtype())?
            + self
                .positional_embedding
                .index_select(&index(positions)?, 0)?
    }

    /// All blocks, the last one only for the pooled rows; norm, projection.
    fn run(
        &self,
        mut x: Tensor,
        pooled: &[u32],
        visibility: Visibility<'_>,
        last_visibility: Visibility<'_>,
    ) -> candle_core::Result<Tensor> {
        let pooled = Tensor::new(pooled, x.device())?;
        let x = match self.blocks.split_last() {
            None => x.index_select(&pooled, 0)?,
            Some((last, blocks)) => {
                for (number, block) in blocks.iter().enumerate() {
                    x = block.forward(&x, visibility)?;
                    tap(|| format!("transformer.resblocks.{number}"), &x);
                }
                let x = last.forward_rows(&x, &pooled, last_visibility)?;
                tap(|| format!("transformer.resblocks.{}", blocks.len()), &x);
                x
            }
        };
        tap(|| "pooled".to_owned(), &pooled);
        let x = self.norm.forward(&x)?;
        tap(|| "ln_final".to_owned(), &x);
        self.projection.forward(&x, Activation::Identity)
    }
}

impl TextTower for ClipText {
    fn forward(&self, texts: &[&[i64]]) -> candle_core::Result<Tensor> {
        check_ids(texts, self.config.context_length, self.config.vocab_size)?;
        if texts.is_empty() {
            return Tensor::zeros(
                (0, self.config.embed_dim),
                candle_core::DType::F32,
                self.token_embedding.device(),
            );
        }
        if self.config.causal {
            self.forward_tree(texts)
        } else {
            self.forward_padded(texts)
        }
    }
}

/// Sequences must fit the positions and ids the vocabulary of a tower.
pub(super) fn check_ids(
    texts: &[&[i64]],
    context_length: usize,
    vocab_size: usize,
) -> candle_core::Result<()> {
    for text in texts {
        if text.is_empty() || text.len() > context_length {
            candle_core::bail!(
                "a text has {} tokens, the tower takes 1 to {context_length}",
                text.len()
            );
        }
        let known = 0..vocab_size as i64;
        if let Some(id) = text.iter().find(|id| !known.contains(id)) {
            candle_core::bail!("token id {id} is not in the tower's vocabulary of {vocab_size}");
        }
    }
    Ok(())
}

/// Texts merged by their common prefixes; one row per distinct prefix.
struct PrefixTree {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    /// For every row, the rows of its prefix including itself.
    paths: KeyPaths,
    /// Rows at which a text ends, without repetition.
    ends: Vec<u32>,
    end_paths: KeyPaths,
    /// For every text, its index in `ends`.
    end_of_text: Vec<u32>,
}

impl PrefixTree {
    fn new(texts: &[Vec<i64>]) -> Self {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| texts[a].cmp(&texts[b]));
        let mut tree = Self {
            tokens: Vec::new(),
            positions: Vec::new(),
            paths: KeyPaths::new(),
            ends: Vec::new(),
            end_paths: KeyPaths::new(),
            end_of_text: vec![0; texts.len()],
        };
        // Rows of the text before, in sorted order.
        let mut path: Vec<u32> = Vec::new();
        let mut before: &[i64] = &[];
        for index in order {
            let text = texts[index].as_slice();
            let shared = text.iter().zip(before).take_while(|(a, b)| a == b).count();
            path.truncate(shared);
            for (position, &token) in text.iter().enumerate().skip(shared) {
                path.push(tree.tokens.len() as u32);
                tree.tokens.push(token as u32);
                tree.positions.push(position as u32);
                tree.paths.push(&path);
            }
            let end = path.last().copied().unwrap_or(0);
            if tree.ends.last() != Some(&end) {
                tree.ends.push(end);
                tree.end_paths.push(&path);
            }
            tree.end_of_text[index] = tree.ends.len() as u32 - 1;
            before = text;
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_prefixes_become_one_row() {
        let texts = [
            vec![9, 1, 2, 7],
            vec![9, 1, 3, 7],
            vec![9, 1, 2, 7],
            vec![9, 4, 7],
            vec![9, 1],
        ];
        let tree = PrefixTree::new(&texts);
        assert_eq!(tree.tokens, [9, 1, 2, 7, 3, 7, 4, 7]);
        assert_eq!(tree.positions, [0, 1, 2, 3, 2, 3, 1, 2]);
        assert_eq!(tree.paths.keys(5), [0, 1, 4, 5]);
        assert_eq!(tree.paths.keys(7), [0, 6, 7]);
        let row = |text: usize| tree.ends[tree.end_of_text[text] as usize];
        assert_eq!([row(0), row(1), row(2), row(3), row(4)], [3, 5, 3, 7, 1]);
        assert_eq!(tree.ends.len(), 4);
    }
}
