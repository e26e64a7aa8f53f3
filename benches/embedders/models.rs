//! Models of random weights in the layout of open_clip, and inputs for them.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use candle_core::{Device, Tensor};
use novic::embedders::{Embedder, EmbedderSpec};
use novic::nouns::{EMBEDDED, Vocabulary};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Texts and pictures that go through the towers of SigLIP together.
const BATCH: usize = 32;
/// Noun prompts that go through the causal tower together.
const PROMPTS: usize = 128;
/// Texts that are tokenized together.
const TEXTS: usize = 2048;
/// The prompts, as in the noun dataset.
const TEMPLATES: [&str; 6] = [
    "a photo of a {}.",
    "a bad photo of the {}.",
    "a drawing of a {}.",
    "the {} in a video game.",
    "a close-up photo of the {}.",
    "{}",
];

/// Writes both models, `inputs.safetensors`, `prompts.safetensors` and
/// `texts.txt` into a folder.
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    siglip(&folder.join("siglip"), &mut random)?;
    causal(&folder.join("causal"), &mut random)?;

    let ids: Vec<i64> = (0..BATCH * 64)
        .map(|_| random.0.random_range(3..32_000))
        .collect();
    let pixels: Vec<f32> = (0..BATCH * 3 * 224 * 224)
        .map(|_| random.0.random_range(-1.0..1.0))
        .collect();
    let inputs = HashMap::from([
        ("ids", Tensor::from_vec(ids, (BATCH, 64), &Device::Cpu)?),
        (
            "pixels",
            Tensor::from_vec(pixels, (BATCH, 3, 224, 224), &Device::Cpu)?,
        ),
    ]);
    candle_core::safetensors::save(&inputs, folder.join("inputs.safetensors"))?;

    let texts = texts(&mut random)?;
    std::fs::write(folder.join("texts.txt"), texts.join("\n") + "\n")?;
    let embedder = open(&folder.join("causal"))?;
    let texts: Vec<&str> = texts.iter().take(PROMPTS).map(String::as_str).collect();
    // Padding is 0 in open_clip.
    let mut ids = vec![0i64; PROMPTS * 77];
    let tokens = embedder.tokenizer().encode(&texts, Some(77))?;
    for (row, tokens) in ids.chunks_exact_mut(77).zip(&tokens) {
        row[..tokens.len()].copy_from_slice(tokens);
    }
    let prompts = HashMap::from([("ids", Tensor::from_vec(ids, (PROMPTS, 77), &Device::Cpu)?)]);
    candle_core::safetensors::save(&prompts, folder.join("prompts.safetensors"))?;
    Ok(())
}

/// The model in a folder.
pub fn open(folder: &Path) -> Result<Embedder, Box<dyn Error>> {
    let folder = std::path::absolute(folder)?;
    let spec: EmbedderSpec = format!("openclip:{}", folder.display()).parse()?;
    Ok(Embedder::open(&spec)?)
}

/// Nouns of the dictionary in prompts.
fn texts(random: &mut Random) -> Result<Vec<String>, Box<dyn Error>> {
    let vocabulary = Vocabulary::load(Path::new(EMBEDDED), 6)?;
    let nouns: Vec<&str> = vocabulary.targets().collect();
    let text = |random: &mut Random| {
        let noun = nouns[random.0.random_range(0..nouns.len())];
        let template = TEMPLATES[random.0.random_range(0..TEMPLATES.len())];
        template.replace("{}", noun)
    };
    Ok((0..TEXTS).map(|_| text(random)).collect())
}

struct Random(ChaCha8Rng);

impl Random {
    /// A matrix whose products keep the size of what they multiply.
    fn matrix(&mut self, shape: &[usize]) -> Vec<f32> {
        let inputs: usize = shape[1..].iter().product();
        let most = (3.0 / inputs as f32).sqrt();
        let count: usize = shape.iter().product();
        (0..count)
            .map(|_| self.0.random_range(-most..most))
            .collect()
    }
}

/// Parameters by name.
struct Parameters<'a> {
    tensors: HashMap<String, Tensor>,
    random: &'a mut Random,
}

impl Parameters<'_> {
    fn matrix(&mut self, name: impl Into<String>, shape: &[usize]) -> candle_core::Result<()> {
        let values = self.random.matrix(shape);
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.tensors.insert(name.into(), tensor);
        Ok(())
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> candle_core::Result<()> {
        self.matrix(format!("{name}.weight"), &[outputs, inputs])?;
        self.constant(format!("{name}.bias"), outputs, 0.01)
    }

    fn norm(&mut self, name: &str, width: usize) -> candle_core::Result<()> {
        self.constant(format!("{name}.weight"), width, 1.0)?;
        self.constant(format!("{name}.bias"), width, 0.01)
    }

    fn constant(&mut self, name: String, width: usize, value: f32) -> candle_core::Result<()> {
        let tensor = Tensor::full(value, width, &Device::Cpu)?;
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// Blocks of open_clip.
    fn blocks(&mut self, stack: &str, layers: usize, width: usize) -> candle_core::Result<()> {
        for number in 0..layers {
            let block = format!("{stack}transformer.resblocks.{number}");
            self.norm(&format!("{block}.ln_1"), width)?;
            self.matrix(format!("{block}.attn.in_proj_weight"), &[3 * width, width])?;
            self.constant(format!("{block}.attn.in_proj_bias"), 3 * width, 0.01)?;
            self.linear(&format!("{block}.attn.out_proj"), width, width)?;
            self.norm(&format!("{block}.ln_2"), width)?;
            self.linear(&format!("{block}.mlp.c_fc"), 4 * width, width)?;
            self.linear(&format!("{block}.mlp.c_proj"), width, 4 * width)?;
        }
        Ok(())
    }

    fn save(self, folder: &Path, config: &Value) -> Result<(), Box<dyn Error>> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("open_clip_config.json"), config.to_string())?;
        let path = folder.join("open_clip_model.safetensors");
        Ok(candle_core::safetensors::save(&self.tensors, path)?)
    }
}

/// The shapes of `timm/ViT-B-16-SigLIP`, with a tokenizer that knows one word:
/// ids are given.
fn siglip(folder: &Path, random: &mut Random) -> Result<(), Box<dyn Error>> {
    const WIDTH: usize = 768;
    const LAYERS: usize = 12;
    let mut model = Parameters {
        tensors: HashMap::new(),
        random,
    };
    let trunk = "visual.trunk";
    model.matrix(
        format!("{trunk}.patch_embed.proj.weight"),
        &[WIDTH, 3, 16, 16],
    )?;
    model.constant(format!("{trunk}.patch_embed.proj.bias"), WIDTH, 0.01)?;
    model.matrix(format!("{trunk}.pos_embed"), &[1, 196, WIDTH])?;
    for number in 0..LAYERS {
        let block = format!("{trunk}.blocks.{number}");
        model.norm(&format!("{block}.norm1"), WIDTH)?;
        model.linear(&format!("{block}.attn.qkv"), 3 * WIDTH, WIDTH)?;
        model.linear(&format!("{block}.attn.proj"), WIDTH, WIDTH)?;
        model.norm(&format!("{block}.norm2"), WIDTH)?;
        model.linear(&format!("{block}.mlp.fc1"), 4 * WIDTH, WIDTH)?;
        model.linear(&format!("{block}.mlp.fc2"), WIDTH, 4 * WIDTH)?;
    }
    model.norm(&format!("{trunk}.norm"), WIDTH)?;
    let pool = format!("{trunk}.attn_pool");
    model.matrix(format!("{pool}.latent"), &[1, 1, WIDTH])?;
    model.linear(&format!("{pool}.q"), WIDTH, WIDTH)?;
    model.linear(&format!("{pool}.kv"), 2 * WIDTH, WIDTH)?;
    model.linear(&format!("{pool}.proj"), WIDTH, WIDTH)?;
    model.norm(&format!("{pool}.norm"), WIDTH)?;
    model.linear(&format!("{pool}.mlp.fc1"), 4 * WIDTH, WIDTH)?;
    model.linear(&format!("{pool}.mlp.fc2"), WIDTH, 4 * WIDTH)?;
    model.matrix("text.token_embedding.weight", &[32_000, WIDTH])?;
    model.matrix("text.positional_embedding", &[64, WIDTH])?;
    model.blocks("text.", LAYERS, WIDTH)?;
    model.norm("text.ln_final", WIDTH)?;
    model.linear("text.text_projection", WIDTH, WIDTH)?;
    let half = [0.5, 0.5, 0.5];
    model.save(
        folder,
        &json!({
            "model_cfg": {
                "embed_dim": WIDTH, "init_logit_bias": -10, "custom_text": true,
                "vision_cfg": {
                    "image_size": 224, "timm_model_name": "vit_base_patch16_siglip_224",
                    "timm_model_pretrained": false, "timm_pool": "map", "timm_proj": "none",
                },
                "text_cfg": {
                    "context_length": 64, "vocab_size": 32_000, "width": WIDTH, "heads": 12,
                    "layers": LAYERS, "no_causal_mask": true, "proj_bias": true,
                    "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
                    "tokenizer_kwargs": {"clean": "canonicalize"},
                },
            },
            "preprocess_cfg": {
                "mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "squash",
            },
        }),
    )?;
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {
            "type": "WordLevel", "vocab": {"word": 0, "</s>": 1, "<unk>": 2},
            "unk_token": "<unk>",
        },
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
    let special = json!({"eos_token": "</s>", "pad_token": "</s>"});
    std::fs::write(folder.join("tokenizer_config.json"), special.to_string())?;
    Ok(())
}

/// The text tower of CLIP ViT-B/16, causal, beside an image tower that is not
/// used.
fn causal(folder: &Path, random: &mut Random) -> Result<(), Box<dyn Error>> {
    const WIDTH: usize = 512;
    const LAYERS: usize = 12;
    let mut model = Parameters {
        tensors: HashMap::new(),
        random,
    };
    model.matrix("visual.conv1.weight", &[64, 3, 32, 32])?;
    model.constant("visual.class_embedding".to_owned(), 64, 0.1)?;
    model.matrix("visual.positional_embedding", &[2, 64])?;
    model.norm("visual.ln_pre", 64)?;
    model.blocks("visual.", 1, 64)?;
    model.norm("visual.ln_post", 64)?;
    model.matrix("visual.proj", &[64, WIDTH])?;
    model.matrix("token_embedding.weight", &[49_408, WIDTH])?;
    model.matrix("positional_embedding", &[77, WIDTH])?;
    model.blocks("", LAYERS, WIDTH)?;
    model.norm("ln_final", WIDTH)?;
    model.matrix("text_projection", &[WIDTH, WIDTH])?;
    model.save(
        folder,
        &json!({
            "model_cfg": {
                "embed_dim": WIDTH,
                "vision_cfg": {
                    "image_size": 32, "patch_size": 32, "layers": 1, "width": 64,
                    "head_width": 64,
                },
                "text_cfg": {
                    "context_length": 77, "vocab_size": 49_408, "width": WIDTH, "heads": 8,
                    "layers": LAYERS,
                },
            },
            "preprocess_cfg": {},
        }),
    )
}
