//! The text tower: open_clip's causal transformer, small.

use super::bpe::{CONTEXT, VOCABULARY};
use super::image_tower::EMBED_DIM;
use super::layers::AttentionShape;
use super::params::{Kind, Params, Slot};
use super::tape::{Id, Tape};

/// Width of the tower.
pub const WIDTH: usize = 192;
/// Number of blocks.
pub const LAYERS: usize = 3;
/// Attention heads.
pub const HEADS: usize = 3;
/// Width of the hidden layer of a block, in widths.
pub const MLP_RATIO: usize = 2;

struct Pair {
    weight: Slot,
    bias: Slot,
}

struct Block {
    norm_1: Pair,
    q: Pair,
    k: Pair,
    v: Pair,
    out: Pair,
    norm_2: Pair,
    widen: Pair,
    narrow: Pair,
}

/// Places of the tower's parameters.
pub struct TextTower {
    tokens: Slot,
    positions: Slot,
    blocks: Vec<Block>,
    last: Pair,
    projection: Slot,
}

impl TextTower {
    /// Adds the tower's parameters with their initial values.
    pub fn new(params: &mut Params) -> Self {
        let tokens = params.normal(
            "token_embedding.weight",
            Kind::Plain,
            VOCABULARY * WIDTH,
            0.02,
        );
        let positions = params.normal("positional_embedding", Kind::Plain, CONTEXT * WIDTH, 0.01);
        let inner = (WIDTH as f32).powf(-0.5);
        let residual = inner * (2.0 * LAYERS as f32).powf(-0.5);
        let blocks = (0..LAYERS)
            .map(|n| {
                let name = |part: &str| format!("transformer.resblocks.{n}.{part}");
                Block {
                    norm_1: norm(params, &name("ln_1")),
                    q: linear(params, &name("attn.q"), WIDTH, inner),
                    k: linear(params, &name("attn.k"), WIDTH, inner),
                    v: linear(params, &name("attn.v"), WIDTH, inner),
                    out: linear(params, &name("attn.out_proj"), WIDTH, residual),
                    norm_2: norm(params, &name("ln_2")),
                    widen: linear(params, &name("mlp.c_fc"), MLP_RATIO * WIDTH, inner),
                    narrow: Pair {
                        weight: params.normal(
                            &name("mlp.c_proj.weight"),
                            Kind::Matrix,
                            MLP_RATIO * WIDTH * WIDTH,
                            residual / (MLP_RATIO as f32).sqrt(),
                        ),
                        bias: params.constant(&name("mlp.c_proj.bias"), WIDTH, 0.0),
                    },
                }
            })
            .collect();
        Self {
            tokens,
            positions,
            blocks,
            last: norm(params, "ln_final"),
            projection: params.normal("text_projection", Kind::Matrix, WIDTH * EMBED_DIM, inner),
        }
    }

    /// Place of the embeddings of tokens `[V, WIDTH]`.
    pub fn tokens(&self) -> Slot {
        self.tokens
    }

    /// Embeddings of token sequences, not normalised. Sequences end in the
    /// token that is pooled.
    pub fn forward(&self, tape: &mut Tape, p: &[f32], texts: &[&[u32]]) -> Id {
        let lengths: Vec<usize> = texts.iter().map(|t| t.len()).collect();
        let ids: Vec<u32> = texts.concat();
        let places: Vec<u32> = lengths.iter().flat_map(|&n| 0..n as u32).collect();
        let mut x = tape.embedding(p, ids, places, self.tokens, self.positions, WIDTH);
        for block in &self.blocks {
            let normed = tape.layer_norm(p, x, block.norm_1.weight, block.norm_1.bias);
            let [q, k, v] = [&block.q, &block.k, &block.v]
                .map(|part| tape.linear(p, normed, part.weight, Some(part.bias)));
            let shape = AttentionShape {
                heads: HEADS,
                queries: lengths.clone(),
                keys: lengths.clone(),
                causal: true,
            };
            let mixed = tape.attention(q, k, v, shape);
            let mixed = tape.linear(p, mixed, block.out.weight, Some(block.out.bias));
            x = tape.add(x, mixed);
            let normed = tape.layer_norm(p, x, block.norm_2.weight, block.norm_2.bias);
            let hidden = tape.linear(p, normed, block.widen.weight, Some(block.widen.bias));
            let hidden = tape.quick_gelu(hidden);
            let hidden = tape.linear(p, hidden, block.narrow.weight, Some(block.narrow.bias));
            x = tape.add(x, hidden);
        }
        let mut end = 0;
        let ends: Vec<usize> = lengths
            .iter()
            .map(|n| {
                end += n;
                end - 1
            })
            .collect();
        let pooled = tape.select(x, ends);
        let pooled = tape.layer_norm(p, pooled, self.last.weight, self.last.bias);
        tape.linear(p, pooled, self.projection, None)
    }
}

fn norm(params: &mut Params, name: &str) -> Pair {
    Pair {
        weight: params.constant(&format!("{name}.weight"), WIDTH, 1.0),
        bias: params.constant(&format!("{name}.bias"), WIDTH, 0.0),
    }
}

fn linear(params: &mut Params, name: &str, output: usize, spread: f32) -> Pair {
    Pair {
        weight: params.normal(
            &format!("{name}.weight"),
            Kind::Matrix,
            WIDTH * output,
            spread,
        ),
        bias: params.constant(&format!("{name}.bias"), output, 0.0),
    }
}
