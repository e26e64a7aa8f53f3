//! The image tower: open_clip's `ModifiedResNet` on small pictures.

use super::layers::{AttentionShape, Grid};
use super::params::{Kind, Params, Slot};
use super::tape::{Id, Running, Tape};

/// Side of the input in pixels.
pub const IMAGE_SIZE: usize = 32;
/// Dimension of the shared embedding space.
pub const EMBED_DIM: usize = 256;
/// Bottleneck blocks per stage.
pub const LAYERS: [usize; 4] = [1, 1, 1, 1];
/// Width of the stem; stages have 4, 8, 16 and 32 times as many channels.
pub const WIDTH: usize = 24;
/// Channels of the pooled features.
const FEATURES: usize = 32 * WIDTH;
/// Attention heads of the pooling, 64 channels each.
pub const HEADS: usize = FEATURES / 64;
/// Cells left by the trunk.
const CELLS: usize = (IMAGE_SIZE / 32) * (IMAGE_SIZE / 32);

struct Norm {
    gain: Slot,
    offset: Slot,
}

struct Block {
    convs: [Slot; 3],
    norms: [Norm; 3],
    side: Option<(Slot, Norm)>,
    stride: usize,
}

struct Projection {
    weight: Slot,
    bias: Slot,
}

/// Places of the tower's parameters.
pub struct ImageTower {
    stem: [(Slot, Norm); 3],
    blocks: Vec<Block>,
    positions: Slot,
    q: Projection,
    k: Projection,
    v: Projection,
    out: Projection,
}

impl ImageTower {
    /// Adds the tower's parameters with their initial values.
    pub fn new(params: &mut Params) -> Self {
        let half = WIDTH / 2;
        let stem = [(3, half), (half, half), (half, WIDTH)];
        let mut number = 0;
        let stem = stem.map(|(input, output)| {
            number += 1;
            let conv = filter(params, &format!("conv{number}.weight"), 3, input, output);
            (conv, norm(params, &format!("bn{number}"), output, 1.0))
        });
        let mut blocks = Vec::new();
        let mut input = WIDTH;
        for (stage, &count) in LAYERS.iter().enumerate() {
            let planes = WIDTH << stage;
            for i in 0..count {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let name = format!("layer{}.{i}", stage + 1);
                let side = (stride > 1 || input != 4 * planes).then(|| {
                    let conv = filter(
                        params,
                        &format!("{name}.downsample.0.weight"),
                        1,
                        input,
                        4 * planes,
                    );
                    (
                        conv,
                        norm(params, &format!("{name}.downsample.1"), 4 * planes, 1.0),
                    )
                });
                // The last norm of a plain block starts at zero: the block
                // begins as the identity.
                let last = if side.is_some() { 1.0 } else { 0.0 };
                blocks.push(Block {
                    convs: [
                        filter(params, &format!("{name}.conv1.weight"), 1, input, planes),
                        filter(params, &format!("{name}.conv2.weight"), 3, planes, planes),
                        filter(
                            params,
                            &format!("{name}.conv3.weight"),
                            1,
                            planes,
                            4 * planes,
                        ),
                    ],
                    norms: [
                        norm(params, &format!("{name}.bn1"), planes, 1.0),
                        norm(params, &format!("{name}.bn2"), planes, 1.0),
                        norm(params, &format!("{name}.bn3"), 4 * planes, last),
                    ],
                    side,
                    stride,
                });
                input = 4 * planes;
            }
        }
        let spread = (FEATURES as f32).powf(-0.5);
        let positions = params.normal(
            "attnpool.positional_embedding",
            Kind::Plain,
            (CELLS + 1) * FEATURES,
            spread,
        );
        Self {
            stem,
            blocks,
            positions,
            q: projection(params, "attnpool.q_proj", FEATURES),
            k: projection(params, "attnpool.k_proj", FEATURES),
            v: projection(params, "attnpool.v_proj", FEATURES),
            out: projection(params, "attnpool.c_proj", EMBED_DIM),
        }
    }

    /// Embeddings of pictures `[count · side · side, 3]`, not normalised.
    pub fn forward(&self, tape: &mut Tape, p: &[f32], pixels: &[f32], running: Running<'_>) -> Id {
        let mut side = IMAGE_SIZE;
        let count = pixels.len() / (side * side * 3);
        let mut x = tape.input(pixels, 3);
        for (i, (conv, norm)) in self.stem.iter().enumerate() {
            let stride = if i == 0 { 2 } else { 1 };
            x = tape.conv(p, x, *conv, Grid::square(count, side).stride(stride));
            side /= stride;
            x = tape.batch_norm(p, x, norm.gain, norm.offset, true, running);
        }
        x = tape.average_pool(x, Grid::square(count, side));
        side /= 2;
        for block in &self.blocks {
            let [n1, n2, n3] = &block.norms;
            let mut branch = tape.linear(p, x, block.convs[0], None);
            branch = tape.batch_norm(p, branch, n1.gain, n1.offset, true, running);
            branch = tape.conv(p, branch, block.convs[1], Grid::square(count, side));
            branch = tape.batch_norm(p, branch, n2.gain, n2.offset, true, running);
            if block.stride > 1 {
                branch = tape.average_pool(branch, Grid::square(count, side));
            }
            branch = tape.linear(p, branch, block.convs[2], None);
            branch = tape.batch_norm(p, branch, n3.gain, n3.offset, false, running);
            if let Some((conv, norm)) = &block.side {
                if block.stride > 1 {
                    x = tape.average_pool(x, Grid::square(count, side));
                }
                x = tape.linear(p, x, *conv, None);
                x = tape.batch_norm(p, x, norm.gain, norm.offset, false, running);
            }
            side /= block.stride;
            x = tape.add_relu(branch, x);
        }
        let tokens = tape.mean_token(p, x, self.positions, CELLS);
        let first = tape.select(tokens, (0..count).map(|i| i * (CELLS + 1)).collect());
        let q = tape.linear(p, first, self.q.weight, Some(self.q.bias));
        let k = tape.linear(p, tokens, self.k.weight, Some(self.k.bias));
        let v = tape.linear(p, tokens, self.v.weight, Some(self.v.bias));
        let shape = AttentionShape {
            heads: HEADS,
            queries: vec![1; count],
            keys: vec![CELLS + 1; count],
            causal: false,
        };
        let pooled = tape.attention(q, k, v, shape);
        tape.linear(p, pooled, self.out.weight, Some(self.out.bias))
    }
}

fn filter(params: &mut Params, name: &str, size: usize, input: usize, output: usize) -> Slot {
    let rows = size * size * input;
    params.normal(
        name,
        Kind::Filter { rows },
        rows * output,
        (2.0 / rows as f32).sqrt(),
    )
}

fn norm(params: &mut Params, name: &str, channels: usize, gain: f32) -> Norm {
    Norm {
        gain: params.constant(&format!("{name}.weight"), channels, gain),
        offset: params.constant(&format!("{name}.bias"), channels, 0.0),
    }
}

fn projection(params: &mut Params, name: &str, output: usize) -> Projection {
    let spread = (FEATURES as f32).powf(-0.5);
    Projection {
        weight: params.normal(
            &format!("{name}.weight"),
            Kind::Matrix,
            FEATURES * output,
            spread,
        ),
        bias: params.constant(&format!("{name}.bias"), output, 0.0),
    }
}
