//! Names, shapes and order of a decoder's parameters (`decoder.md` section 3).
//!
//! One walk over the architecture gives the parameter list, the state
//! dictionary of the original, and the indices the forward pass uses.

use crate::config::schema::Rezero;

use super::architecture::Architecture;

/// Part of the model a parameter is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Prefix MLP.
    InputMlp,
    /// Token embedding and output projection.
    TokenEmbedding,
    /// Positional embedding.
    Positions,
    /// Transformer layers and final norm.
    Transformer,
}

impl Part {
    /// All parts in the order they are reported.
    pub const ALL: [Self; 4] = [
        Self::InputMlp,
        Self::TokenEmbedding,
        Self::Positions,
        Self::Transformer,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputMlp => "Input MLP",
            Self::TokenEmbedding => "Token embed/logits",
            Self::Positions => "Positional embed",
            Self::Transformer => "Transformer",
        }
    }
}

/// What a parameter does: decides its initialisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Only or first linear map of the prefix MLP.
    MlpFirst,
    /// Its bias.
    MlpFirstBias,
    /// Hidden norm of the prefix MLP.
    MlpNorm,
    /// Its bias.
    MlpNormBias,
    /// Last linear map of a prefix MLP with hidden layer.
    MlpLast,
    /// Output projection, also the token embedding when tied.
    Output,
    /// Its bias.
    OutputBias,
    /// Token embedding of its own.
    TokenTable,
    /// Positional embedding.
    Positions,
    /// ReZero scalar.
    Scale,
    /// Query, key and value projection.
    InProj,
    /// Its bias.
    InProjBias,
    /// Attention output projection.
    OutProj,
    /// Its bias.
    OutProjBias,
    /// First feed-forward map.
    Linear1,
    /// Its bias.
    Linear1Bias,
    /// Second feed-forward map.
    Linear2,
    /// Its bias.
    Linear2Bias,
    /// Norm inside the transformer.
    Norm,
    /// The norm behind the transformer.
    PostNorm,
    /// Bias of a norm.
    NormBias,
}

/// One parameter; shared ones appear once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Name in the state dictionary (the first, if it has two).
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Part of the model.
    pub part: Part,
    /// What it does.
    pub role: Role,
    /// Leading rows in use; those behind are always zero.
    pub used_rows: usize,
}

impl ParameterSpec {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of elements in used rows.
    pub fn used_elements(&self) -> usize {
        match self.shape.first() {
            Some(&rows) if rows > 0 => self.elements() / rows * self.used_rows,
            _ => self.elements(),
        }
    }
}

/// What a name of the state dictionary stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateEntry {
    /// The additive attention mask, a buffer of the original.
    CausalityMask,
    /// A parameter; several names may stand for one.
    Parameter(usize),
}

/// Parameter counts of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterCount {
    /// All elements.
    pub total: usize,
    /// Elements in use.
    pub used: usize,
    /// Elements of rows beyond the vocabulary.
    pub unused: usize,
    /// Elements that training changes.
    pub trained: usize,
    /// Elements in use that training does not change.
    pub frozen: usize,
}

#[derive(Clone, Debug)]
pub(super) struct LinearIndex {
    pub weight: usize,
    pub bias: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct NormIndex {
    pub weight: usize,
    pub bias: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct LayerIndex {
    pub in_proj: LinearIndex,
    pub out_proj: LinearIndex,
    pub linear1: LinearIndex,
    pub linear2: LinearIndex,
    pub norm1: NormIndex,
    pub norm2: NormIndex,
    pub scales: Option<(usize, usize)>,
}

/// Parameter list, state dictionary and indices of an architecture.
#[derive(Clone, Debug)]
pub struct ParameterLayout {
    /// Parameters in registration order.
    pub parameters: Vec<ParameterSpec>,
    /// State dictionary in order.
    pub state: Vec<(String, StateEntry)>,
    pub(super) mlp_first: LinearIndex,
    pub(super) mlp_norm: Option<NormIndex>,
    pub(super) mlp_last: Option<LinearIndex>,
    pub(super) output: LinearIndex,
    pub(super) token_table: usize,
    pub(super) positions: usize,
    pub(super) layers: Vec<LayerIndex>,
    pub(super) final_norm: Option<NormIndex>,
}

#[derive(Default)]
struct Builder {
    parameters: Vec<ParameterSpec>,
    state: Vec<(String, StateEntry)>,
}

impl Builder {
    fn add(&mut self, name: String, shape: &[usize], part: Part, role: Role) -> usize {
        let index = self.parameters.len();
        self.state
            .push((name.clone(), StateEntry::Parameter(index)));
        self.parameters.push(ParameterSpec {
            name,
            shape: shape.to_vec(),
            part,
            role,
            used_rows: shape.first().copied().unwrap_or(1),
        });
        index
    }

    fn alias(&mut self, name: String, index: usize) -> usize {
        self.state.push((name, StateEntry::Parameter(index)));
        index
    }

    fn vocabulary(&mut self, name: &str, shape: &[usize], role: Role, vocab_size: usize) -> usize {
        let index = self.add(name.to_owned(), shape, Part::TokenEmbedding, role);
        self.parameters[index].used_rows = vocab_size;
        index
    }
}

impl ParameterLayout {
    /// Layout of `architecture`.
    pub fn new(architecture: &Architecture) -> Self {
        let a = architecture;
        let (embed_dim, vocab_size) = (a.dimensions.embed_dim, a.dimensions.vocab_size);
        let width = a.hidden_dim;
        let mut b = Builder::default();
        b.state
            .push(("causality_mask".to_owned(), StateEntry::CausalityMask));

        let output = a.prefix_len * width;
        let first_size = a.mlp.map_or(output, |mlp| mlp.size);
        let mlp_name = |module: usize, what: &str| format!("embed_mlp.mlp.{module}.{what}");
        let mlp = Part::InputMlp;
        let mlp_bias = a.mlp.is_some_and(|mlp| mlp.bias);
        let mlp_first = LinearIndex {
            weight: b.add(
                mlp_name(0, "weight"),
                &[first_size, embed_dim],
                mlp,
                Role::MlpFirst,
            ),
            bias: mlp_bias
                .then(|| b.add(mlp_name(0, "bias"), &[first_size], mlp, Role::MlpFirstBias)),
        };
        let has_norm = a.mlp.is_some_and(|mlp| mlp.norm);
        let mlp_norm = has_norm.then(|| NormIndex {
            weight: b.add(mlp_name(1, "weight"), &[first_size], mlp, Role::MlpNorm),
            bias: mlp_bias
                .then(|| b.add(mlp_name(1, "bias"), &[first_size], mlp, Role::MlpNormBias)),
        });
        // The activation takes a module number of its own.
        let last = if has_norm { 3 } else { 2 };
        let mlp_last = a.mlp.map(|hidden| LinearIndex {
            weight: b.add(
                mlp_name(last, "weight"),
                &[output, hidden.size],
                mlp,
                Role::MlpLast,
            ),
            bias: None,
        });

        let stored = a.stored_vocab;
        let output = LinearIndex {
            weight: b.vocabulary(
                "logits_linear.weight",
                &[stored, width],
                Role::Output,
                vocab_size,
            ),
            bias: a.logits_bias.then(|| {
                b.vocabulary(
                    "logits_linear.bias",
                    &[stored],
                    Role::OutputBias,
                    vocab_size,
                )
            }),
        };
        let token_table = if a.weight_tying {
            output.weight
        } else {
            let shape = [stored, width];
            let index = b.vocabulary(
                "token_embedding.weight",
                &shape,
                Role::TokenTable,
                vocab_size,
            );
            b.alias("embed_tokens.weight".to_owned(), index)
        };
        let positions = b.add(
            "pos_embedding.embedding.weight".to_owned(),
            &[a.max_sequence(), width],
            Part::Positions,
            Role::Positions,
        );
        let layers = (0..a.layers).map(|layer| b.layer(a, layer)).collect();
        let final_norm = a
            .norm_first
            .then(|| b.norm("transformer.norm".to_owned(), a, Role::PostNorm));
        Self {
            parameters: b.parameters,
            state: b.state,
            mlp_first,
            mlp_norm,
            mlp_last,
            output,
            token_table,
            positions,
            layers,
            final_norm,
        }
    }

    /// Counts per part, in the order of [`Part::ALL`].
    pub fn counts(&self) -> Vec<(Part, ParameterCount)> {
        Part::ALL
            .into_iter()
            .map(|part| {
                let mut count = ParameterCount::default();
                for spec in self.parameters.iter().filter(|spec| spec.part == part) {
                    count.total += spec.elements();
                    count.used += spec.used_elements();
                }
                count.unused = count.total - count.used;
                count.trained = count.used;
                (part, count)
            })
            .collect()
    }

    /// Counts of the whole model.
    pub fn total_count(&self) -> ParameterCount {
        let mut sum = ParameterCount::default();
        for (_, count) in self.counts() {
            sum.total += count.total;
            sum.used += count.used;
            sum.unused += count.unused;
            sum.trained += count.trained;
            sum.frozen += count.frozen;
        }
        sum
    }
}

impl Builder {
    fn linear(
        &mut self,
        names: (String, String),
        shape: [usize; 2],
        bias: bool,
        roles: (Role, Role),
    ) -> LinearIndex {
        LinearIndex {
            weight: self.add(names.0, &shape, Part::Transformer, roles.0),
            bias: bias.then(|| self.add(names.1, &shape[..1], Part::Transformer, roles.1)),
        }
    }

    fn norm(&mut self, name: String, a: &Architecture, role: Role) -> NormIndex {
        let shape = [a.hidden_dim];
        NormIndex {
            weight: self.add(format!("{name}.weight"), &shape, Part::Transformer, role),
            bias: a.layer_bias.then(|| {
                self.add(
                    format!("{name}.bias"),
                    &shape,
                    Part::Transformer,
                    Role::NormBias,
                )
            }),
        }
    }

    fn layer(&mut self, a: &Architecture, layer: usize) -> LayerIndex {
        let (width, inner, bias) = (a.hidden_dim, a.feedforward_dim, a.layer_bias);
        let name = |what: &str| format!("transformer.layers.{layer}.{what}");
        let pair = |what: &str| {
            (
                name(&format!("{what}.weight")),
                name(&format!("{what}.bias")),
            )
        };
        let scales = match a.rezero {
            Rezero::None => None,
            Rezero::Perskip => Some((
                self.add(name("scale1"), &[], Part::Transformer, Role::Scale),
                self.add(name("scale2"), &[], Part::Transformer, Role::Scale),
            )),
            Rezero::Perlayer => {
                let index = self.add(name("scale1"), &[], Part::Transformer, Role::Scale);
                Some((index, self.alias(name("scale2"), index)))
            }
        };
        let last = layer + 1 == a.layers;
        LayerIndex {
            scales,
            in_proj: self.linear(
                (
                    name("self_attn.in_proj_weight"),
                    name("self_attn.in_proj_bias"),
                ),
                [3 * width, width],
                bias,
                (Role::InProj, Role::InProjBias),
            ),
            out_proj: self.linear(
                pair("self_attn.out_proj"),
                [width, width],
                bias,
                (Role::OutProj, Role::OutProjBias),
            ),
            linear1: self.linear(
                pair("linear1"),
                [inner, width],
                bias,
                (Role::Linear1, Role::Linear1Bias),
            ),
            linear2: self.linear(
                pair("linear2"),
                [width, inner],
                bias,
                (Role::Linear2, Role::Linear2Bias),
            ),
            norm1: self.norm(name("norm1"), a, Role::Norm),
            norm2: self.norm(
                name("norm2"),
                a,
                if last && !a.norm_first {
                    Role::PostNorm
                } else {
                    Role::Norm
                },
            ),
        }
    }
}
