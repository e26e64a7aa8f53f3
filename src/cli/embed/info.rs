//! `novic embed info` and `novic embed check`.

use candle_core::{Device, Tensor};
use clap::Args;
use serde_json::{Value, json};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::EmbedderArgs;
use crate::cache::hash::ConfigHash;
use crate::embedders::{Embedder, TextArchitecture, VisionArchitecture};

/// Tell what an embedder is: dimensions, towers, tokenizer, files, hashes
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The embedder, TYPE:NAME
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// Load an embedder and try it: weights, tokens, batches, unit vectors
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The embedder, TYPE:NAME
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

pub(super) fn info(args: &InfoArgs) -> Result<Exit, CliError> {
    let embedder = args.embedder.open(&args.spec)?;
    let description = embedder.description();
    let tokenizer = embedder.tokenizer();
    let constants = tokenizer.constants();
    let transform = embedder.preprocess();
    let text = match &description.text {
        TextArchitecture::Clip(text) => json!({
            "kind": if text.causal { "causal transformer" } else { "transformer" },
            "width": text.width, "layers": text.layers, "heads": text.heads,
            "hidden": text.hidden, "positions": text.context_length,
        }),
        TextArchitecture::Bert(text) => json!({
            "kind": "BERT", "width": text.width, "layers": text.layers, "heads": text.heads,
            "hidden": text.hidden, "positions": text.context_length,
        }),
    };
    let vision = match &description.vision {
        VisionArchitecture::ClipVit(vit) => json!({
            "kind": "vision transformer", "width": vit.width, "layers": vit.layers,
            "heads": vit.heads, "hidden": vit.hidden, "patch": vit.patch_size,
        }),
        VisionArchitecture::MapVit(vit, _) => json!({
            "kind": "vision transformer with attention pooling", "width": vit.width,
            "layers": vit.layers, "heads": vit.heads, "hidden": vit.hidden,
            "patch": vit.patch_size,
        }),
        VisionArchitecture::Eva02(trunk, _) => json!({
            "kind": "EVA02", "width": trunk.embed_dim, "layers": trunk.depth,
            "heads": trunk.num_heads, "hidden": trunk.hidden(), "patch": trunk.patch_size,
        }),
        VisionArchitecture::ResNet(net) => json!({
            "kind": "residual network", "width": net.width, "blocks": net.stages,
            "heads": net.heads,
        }),
        VisionArchitecture::EfficientNet(net) => json!({
            "kind": "EfficientNet", "stem": net.stem, "blocks": net.blocks.len(),
        }),
    };
    let files: Vec<String> = (description.identity.iter())
        .chain(&description.weights)
        .map(|name| embedder.files().path(name).display().to_string())
        .collect();
    let mut hashes = Vec::new();
    for device in ["cpu", "cuda"] {
        for precision in ["None", "torch.float16", "torch.bfloat16"] {
            let mut object = embedder.config_object();
            object["device_type"] = device.into();
            object["amp_dtype"] = precision.into();
            hashes.push(json!({
                "device_type": device, "amp_dtype": precision,
                "sha256": ConfigHash::of(&object).to_string(),
            }));
        }
    }
    let info = json!({
        "spec": embedder.spec().to_string(),
        "family": description.family,
        "dim": embedder.dim(),
        "text": text,
        "vision": vision,
        "tokenizer": {
            "context_length": constants.context_length, "vocab_size": constants.vocab_size,
            "start_id": constants.start_id, "end_id": constants.end_id,
            "pad_id": constants.pad_id,
        },
        "image": {
            "height": transform.height, "width": transform.width,
            "resize": format!("{:?}", transform.resize_mode).to_lowercase(),
            "interpolation": format!("{:?}", transform.interpolation).to_lowercase(),
            "mean": transform.mean, "std": transform.std,
        },
        "files": files,
        "configuration_hashes": hashes,
    });
    if args.json {
        print(&format!("{info:#}\n"))
    } else {
        let mut out = String::new();
        lines(&info, "", &mut out);
        print(&out)
    }
}

/// `a.b  value`, one line each.
fn lines(value: &Value, name: &str, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                lines(value, &name, out);
            }
        }
        Value::Array(items) if items.iter().any(|item| !item.is_number()) => {
            for item in items {
                match item {
                    Value::Object(map) => {
                        let texts = map.values().map(plain);
                        let texts: Vec<String> = texts.collect();
                        out.push_str(&format!("{name:<24} {}\n", texts.join(" ")));
                    }
                    item => lines(item, name, out),
                }
            }
        }
        value => out.push_str(&format!("{name:<24} {}\n", plain(value))),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Texts that tokenizers and towers treat in different ways.
const TEXTS: [&str; 6] = [
    "a photo of a red fox.",
    "alarm clock",
    "crème brûlée",
    "x",
    "",
    "a very long text that goes on and on about everything there is, was and ever will be, and \
     then some more, until no context can hold it any longer, not even one of seventy-seven \
     tokens, which is what most of the models that anybody uses have room for",
];

pub(super) fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let embedder = args.embedder.open(&args.spec)?;
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    embedder.load().map_err(|error| failed(&error))?;
    let mut results = vec![(
        "weights",
        Ok("all parameters found, none left over".to_owned()),
    )];
    results.push(("tokens", check_tokens(&embedder)));
    results.push(("texts", check_texts(&embedder)));
    results.push(("images", check_images(&embedder)));
    let all_good = results.iter().all(|(_, result)| result.is_ok());
    if args.json {
        let rows: Vec<Value> = results
            .iter()
            .map(|(name, result)| {
                let (Ok(text) | Err(text)) = result;
                json!({"check": name, "ok": result.is_ok(), "detail": text})
            })
            .collect();
        print(&format!("{:#}\n", Value::from(rows)))?;
    } else {
        for (name, result) in &results {
            let (mark, text) = match result {
                Ok(text) => ("ok", text),
                Err(text) => ("FAILED", text),
            };
            print(&format!("{mark:<7} {name:<8} {text}\n"))?;
        }
    }
    Ok(if all_good {
        Exit::Success
    } else {
        Exit::Failed
    })
}

/// Truncation keeps the end token, and what is read back is tokenized the same.
fn check_tokens(embedder: &Embedder) -> Result<String, String> {
    let tokenizer = embedder.tokenizer();
    let constants = tokenizer.constants();
    let rows = tokenizer
        .encode(&TEXTS, Some(constants.context_length))
        .map_err(|error| error.to_string())?;
    for (text, row) in TEXTS.iter().zip(&rows) {
        if row.len() > constants.context_length || row.last() != Some(&constants.end_id) {
            return Err(format!("{text:?} becomes {row:?}"));
        }
        let back = tokenizer.decode(row).map_err(|error| error.to_string())?;
        let again = tokenizer
            .encode(&[&back], Some(constants.context_length))
            .map_err(|error| error.to_string())?;
        let third = tokenizer
            .decode(&again[0])
            .map_err(|error| error.to_string())?;
        if third != back {
            return Err(format!(
                "{text:?} is read back as {back:?}, then as {third:?}"
            ));
        }
    }
    Ok(format!("{} texts tokenized and read back", TEXTS.len()))
}

/// Vectors have length 1 and do not depend on their batch.
fn check_texts(embedder: &Embedder) -> Result<String, String> {
    let embed = |texts: &[&str]| {
        embedder
            .embed_texts(texts)
            .map_err(|error| error.to_string())
    };
    let together = embed(&TEXTS)?;
    let mut alone = Vec::new();
    for text in TEXTS {
        alone.push(embed(&[text])?);
    }
    let alone = Tensor::cat(&alone, 0).map_err(|error| error.to_string())?;
    compare(&together, &alone)
}

fn check_images(embedder: &Embedder) -> Result<String, String> {
    let pictures: Vec<image::RgbImage> = [(7u32, 33u32, 40u32), (60, 20, 5), (0, 64, 64)]
        .into_iter()
        .map(|(seed, width, height)| {
            image::RgbImage::from_fn(width, height, |x, y| {
                let level = |k: u32| ((x * (k + 3) + y * (k + 5) + seed * 11) % 256) as u8;
                image::Rgb([level(0), level(7), level(13)])
            })
        })
        .collect();
    let embed = |pictures: &[image::RgbImage]| {
        embedder
            .embed_images(pictures)
            .map_err(|error| error.to_string())
    };
    let together = embed(&pictures)?;
    let mut alone = Vec::new();
    for picture in &pictures {
        alone.push(embed(std::slice::from_ref(picture))?);
    }
    let alone = Tensor::cat(&alone, 0).map_err(|error| error.to_string())?;
    compare(&together, &alone)
}

fn compare(together: &Tensor, alone: &Tensor) -> Result<String, String> {
    let rows = |tensor: &Tensor| {
        let tensor = tensor.to_device(&Device::Cpu)?;
        tensor.to_vec2::<f32>()
    };
    let (together, alone) = match (rows(together), rows(alone)) {
        (Ok(together), Ok(alone)) => (together, alone),
        (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
    };
    let mut worst = 0f32;
    for (a, b) in together.iter().zip(&alone) {
        let length = a.iter().map(|x| x * x).sum::<f32>().sqrt();
        if (length - 1.0).abs() > 1e-5 {
            return Err(format!("a vector has length {length}"));
        }
        for (a, b) in a.iter().zip(b) {
            worst = worst.max((a - b).abs());
        }
    }
    let text = format!("alone and in a batch they differ by {worst:.1e}");
    if worst <= 1e-5 { Ok(text) } else { Err(text) }
}
