//! BERT as the text tower of ALIGN (`embedders.md` section 5.9): blocks that
//! normalise after each branch; the embedding is the projected state of the
//! first token.
//!
//! Texts of a call lie one behind the other and see only themselves, so
//! nothing is padded and nothing needs a mask.

use candle_core::{Result, Tensor};

use super::TextTower;
use super::clip_text::check_ids;
use super::tap::tap;
use super::transformer::{LayerNorm, Linear};
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::BertConfig;
use crate::embedders::weights::Parameters;
use crate::ops::attention::{KeyPaths, path_attention};
use crate::ops::linear::{Activation, add_mlp};

/// The tower with its parameters.
pub struct Bert {
    /// `[V, D]`
    tokens: Tensor,
    /// `[T, D]`: positions plus the kind of sentence, always the first.
    positions: Tensor,
    norm: LayerNorm,
    blocks: Vec<Block>,
    projection: Linear,
    config: BertConfig,
}

impl Bert {
    /// Takes the parameters below `text.`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &BertConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let text = parameters.under("text");
        let width = config.width;
        let embeddings = text.under("embeddings");
        let kinds =
            embeddings.take("token_type_embeddings.weight", &[config.token_types, width])?;
        let positions = embeddings.take(
            "position_embeddings.weight",
            &[config.context_length, width],
        )?;
        let stack = text.under("encoder.layer");
        Ok(Self {
            tokens: embeddings.take("word_embeddings.weight", &[config.vocab_size, width])?,
            positions: positions.broadcast_add(&kinds.narrow(0, 0, 1)?)?,
            norm: LayerNorm::load(&embeddings.under("LayerNorm"), width, config.eps)?,
            blocks: (0..config.layers)
                .map(|n| Block::load(&stack.under(n), config))
                .collect::<std::result::Result<_, _>>()?,
            projection: Linear::load(&text.under("projection"), width, config.embed_dim)?,
            config: config.clone(),
        })
    }
}

impl TextTower for Bert {
    fn forward(&self, texts: &[&[i64]]) -> Result<Tensor> {
        check_ids(texts, self.config.context_length, self.config.vocab_size)?;
        if texts.is_empty() {
            let dims = (0, self.config.embed_dim);
            return Tensor::zeros(dims, candle_core::DType::F32, self.tokens.device());
        }
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        let (mut paths, mut firsts) = (KeyPaths::new(), Vec::new());
        for text in texts {
            let start = ids.len() as u32;
            firsts.push(start);
            ids.extend(text.iter().map(|&id| id as u32));
            positions.extend(0..text.len() as u32);
            let own: Vec<u32> = (start..ids.len() as u32).collect();
            text.iter().for_each(|_| paths.push(&own));
        }
        let index = |ids: &[u32]| Tensor::new(ids, self.tokens.device());
        let x = (self.tokens.index_select(&index(&ids)?, 0)?
            + self.positions.index_select(&index(&positions)?, 0)?)?;
        let mut x = self.norm.forward(&x)?;
        tap(|| "embeddings".to_owned(), &x);
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &paths)?;
            tap(|| format!("encoder.layer.{number}"), &x);
        }
        self.projection
            .forward(&x.index_select(&index(&firsts)?, 0)?, Activation::Identity)
    }
}

/// `x = LN(x + MHA(x)); x = LN(x + MLP(x))`
struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm_1: LayerNorm,
    up: Linear,
    down: Linear,
    norm_2: LayerNorm,
    heads: usize,
    activation: Activation,
}

impl Block {
    fn load(
        parameters: &Parameters<'_>,
        config: &BertConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let (width, hidden) = (config.width, config.hidden);
        let layer = |name, inputs, outputs| Linear::load(&parameters.under(name), inputs, outputs);
        let norm = |name| LayerNorm::load(&parameters.under(name), width, config.eps);
        Ok(Self {
            query: layer("attention.self.query", width, width)?,
            key: layer("attention.self.key", width, width)?,
            value: layer("attention.self.value", width, width)?,
            out: layer("attention.output.dense", width, width)?,
            norm_1: norm("attention.output.LayerNorm")?,
            up: layer("intermediate.dense", width, hidden)?,
            down: layer("output.dense", hidden, width)?,
            norm_2: norm("output.LayerNorm")?,
            heads: config.heads,
            activation: config.activation,
        })
    }

    /// x `[R, D]` → `[R, D]`; row `i` sees the rows of its path.
    fn forward(&self, x: &Tensor, paths: &KeyPaths) -> Result<Tensor> {
        let project = |layer: &Linear| layer.forward(x, Activation::Identity);
        let (q, k, v) = (
            project(&self.query)?,
            project(&self.key)?,
            project(&self.value)?,
        );
        let mixed = path_attention(&q, &k, &v, paths, self.heads)?;
        let x = self.norm_1.forward(&self.out.add_to(x, &mixed)?)?;
        let (up, down) = (self.up.layer(), self.down.layer());
        self.norm_2
            .forward(&add_mlp(&x, &x, up, down, self.activation)?)
    }
}
