//! Every model: constants, tokens, target configurations, configuration
//! objects, embeddings.

use candle_core::{DType, Device, Tensor};
use novic::cache::hash::ConfigHash;
use novic::cache::{TargetConfig, TargetOptions};
use novic::embedders::Precision;
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype};
use novic::images::{DecodeOptions, decode_file};

use super::{Model, ids, list, models, path, tensors, text, texts, worst_difference};

#[test]
fn constants_come_from_the_files() {
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let wanted = &entry["constants"];
        let tokenizer = embedder.tokenizer();
        let constants = tokenizer.constants();
        assert_eq!(wanted["embed_dim"], embedder.dim(), "{name}");
        assert_eq!(wanted["context_length"], constants.context_length, "{name}");
        assert_eq!(wanted["vocab_size"], constants.vocab_size, "{name}");
        let start = wanted["start_token_id"].as_i64();
        assert_eq!(start, constants.start_id, "{name}");
        assert_eq!(wanted["end_token_id"], constants.end_id, "{name}");
        assert_eq!(wanted["pad_token_id"], constants.pad_id, "{name}");
        let dtype = match constants.dtype {
            TokenDtype::I32 => "torch.int32",
            TokenDtype::I64 => "torch.int64",
        };
        // The original cannot open every model.
        if let Some(wanted) = wanted["token_dtype"].as_str() {
            assert_eq!(wanted, dtype, "{name}");
        }
    }
}

/// Rows of ids padded to the longest, or to `length`.
fn padded(
    tokenizer: &dyn TextTokenizer,
    rows: &[Vec<i64>],
    length: Option<usize>,
) -> Vec<Vec<i64>> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.resize(length.unwrap_or(longest), tokenizer.constants().pad_id);
    }
    rows
}

fn id_rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    let tensor = tensor.to_dtype(DType::I64).unwrap();
    tensor.to_vec2::<i64>().unwrap()
}

#[test]
fn tokens_and_texts_are_exact() {
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let tokenizer = embedder.tokenizer();
        let context = tokenizer.constants().context_length;
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let inputs = texts(&entry["texts"]);
        let rows = tokenizer.encode(&inputs, Some(context)).unwrap();
        let wanted = id_rows(&outputs["text/input_ids"]);
        match outputs.get("text/attention_mask") {
            Some(mask) => {
                assert_eq!(padded(&*tokenizer, &rows, None), wanted, "{name}");
                for (row, mask) in rows.iter().zip(id_rows(mask)) {
                    let count = mask.iter().filter(|&&m| m != 0).count();
                    assert_eq!(row.len(), count, "{name}");
                }
            }
            // Without a mask all positions are filled.
            None => assert_eq!(padded(&*tokenizer, &rows, Some(context)), wanted, "{name}"),
        }
        for (row, wanted) in rows.iter().zip(texts(&entry["detokenized"])) {
            assert_eq!(tokenizer.decode(row).unwrap(), wanted, "{name}");
        }
        if let Some(canonical) = entry.get("canonical") {
            for (input, row) in texts(canonical).iter().zip(&rows) {
                let again = tokenizer.encode(&[input], Some(context)).unwrap();
                assert_eq!(&again[0], row, "{name}: {input:?}");
            }
        }
        let empty = Vec::new();
        let singles = entry["single_ids"].as_array().unwrap_or(&empty);
        for (input, wanted) in inputs.iter().zip(singles) {
            let single = tokenizer.encode(&[input], Some(context)).unwrap();
            assert_eq!(single, [ids(&wanted[0])], "{name}: {input:?}");
        }
        for (max, wanted) in entry["truncated_ids"].as_object().into_iter().flatten() {
            let max = max.parse().unwrap();
            let rows = tokenizer.encode(&inputs, Some(max)).unwrap();
            let wanted: Vec<Vec<i64>> = list(wanted).iter().map(ids).collect();
            assert_eq!(padded(&*tokenizer, &rows, None), wanted, "{name} at {max}");
        }
    }
}

#[test]
fn targets_of_every_tokenizer() {
    let mut checked = 0;
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let Some(cases) = entry["target_configs"].as_array() else {
            continue;
        };
        let tokenizer = embedder.tokenizer();
        let nouns = texts(&entry["targets"]);
        for case in cases {
            let options = TargetOptions {
                with_start_token: case["with_start_token"].as_bool().unwrap(),
                compact_ids: true,
                use_masks: true,
                ..TargetOptions::default()
            };
            // Nouns with their spelling after tokenizing, as the original keeps them.
            let spelled = texts(&case["detokenized"]);
            let config = TargetConfig::build(&*tokenizer, &spelled, &options)
                .or_else(|_| TargetConfig::build(&*tokenizer, &nouns, &options))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(case["token_length"], config.token_length, "{name}");
            assert_eq!(case["vocab_size"], config.vocab_size, "{name}");
            let unmap = &config.compact.as_ref().unwrap().unmap;
            assert_eq!(&ids(&case["compact_unmap"]), unmap, "{name}");
            let rows = config.tokenize(&*tokenizer, &nouns).unwrap();
            let wanted: Vec<i64> = list(&case["ids"]).iter().flat_map(ids).collect();
            assert_eq!(rows.ids, wanted, "{name}");
            let mask: Vec<i64> = list(&case["mask"]).iter().flat_map(ids).collect();
            let padding: Vec<i64> = rows.padding.iter().map(|&pad| i64::from(pad)).collect();
            assert_eq!(padding, mask, "{name}");
            for (row, wanted) in rows.ids.chunks(rows.columns).zip(&spelled) {
                assert_eq!(
                    &config.detokenize(&*tokenizer, row).unwrap(),
                    wanted,
                    "{name}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn configuration_objects_are_exact() {
    let mut checked = 0;
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let Some(wanted) = entry.get("configuration") else {
            continue;
        };
        let mut object = embedder.config_object();
        // The reference knows models by their repositories and addresses, this
        // test by their paths.
        let local = object["model_id"].as_str().unwrap_or_default().to_owned();
        for key in ["model_id", "model_name", "model_checkpoint"] {
            if wanted.get(key).is_some() {
                object[key] = wanted[key].clone();
            }
        }
        if let Some(config) = object["model_config"].as_str() {
            let config = config.replace(&local, text(&wanted["model_id"]));
            object["model_config"] = config.into();
        }
        assert_eq!(&object, wanted, "{name}");
        for case in list(&entry["configuration_hashes"]) {
            object["device_type"] = case["device_type"].clone();
            object["amp_dtype"] = case["amp_dtype"].clone();
            assert_eq!(
                ConfigHash::of(&object).to_string(),
                text(&case["sha256"]),
                "{name}: {case}"
            );
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn text_embeddings_from_stored_ids() {
    for Model {
        name,
        entry,
        embedder,
        tolerance,
    } in models()
    {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let rows = id_rows(&outputs["text/input_ids"]);
        let rows: Vec<Vec<i64>> = match outputs.get("text/attention_mask") {
            None => rows,
            Some(mask) => (rows.iter().zip(id_rows(mask)))
                .map(|(row, mask)| {
                    let kept = row.iter().zip(mask).filter(|(_, m)| *m != 0);
                    kept.map(|(id, _)| *id).collect()
                })
                .collect(),
        };
        let rows: Vec<&[i64]> = rows.iter().map(Vec::as_slice).collect();
        let vectors = embedder.embed_tokens(&rows).unwrap();
        let worst = worst_difference(&vectors, &outputs["text/embeds"]);
        assert!(worst <= tolerance, "{name}: texts differ by {worst}");
        let from_texts = embedder.embed_texts(&texts(&entry["texts"])).unwrap();
        assert!(worst_difference(&from_texts, &vectors) <= 1e-6, "{name}");
    }
}

#[test]
fn embeddings_do_not_depend_on_the_batch() {
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let inputs = texts(&entry["texts"]);
        let together = embedder.embed_texts(&inputs).unwrap();
        for (index, input) in inputs.iter().enumerate() {
            let alone = embedder.embed_texts(&[input]).unwrap();
            let worst = worst_difference(&alone, &together.narrow(0, index, 1).unwrap());
            assert!(worst <= 1e-5, "{name}: {input:?} differs by {worst}");
        }
        let norms = together.sqr().unwrap().sum(1).unwrap();
        let norms = norms.to_vec1::<f32>().unwrap();
        assert!(
            norms.iter().all(|norm| (norm - 1.0).abs() <= 1e-5),
            "{name}: {norms:?}"
        );
    }
}

#[test]
fn image_embeddings_from_stored_pixels_and_from_files() {
    for Model {
        name,
        entry,
        embedder,
        tolerance,
    } in models()
    {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let pixels = &outputs["image/pixels"];
        let wanted = &outputs["image/embeds"];
        let first = embedder.embed_pixels(pixels).unwrap();
        let worst = worst_difference(&first, &wanted.narrow(0, 0, 1).unwrap());
        assert!(worst <= tolerance, "{name}: pixels differ by {worst}");
        let images: Vec<_> = texts(&entry["images"])
            .into_iter()
            .map(|file| {
                decode_file(&path(&format!("images/{file}")), &DecodeOptions::default()).unwrap()
            })
            .collect();
        let mut transformed = vec![0f32; embedder.preprocess().len()];
        embedder.preprocess().apply(&images[0], &mut transformed);
        let transformed = Tensor::from_vec(transformed, pixels.dims(), &Device::Cpu).unwrap();
        let worst = worst_difference(&transformed, pixels);
        assert!(worst <= 1e-6, "{name}: the transform differs by {worst}");
        let vectors = embedder.embed_images(&images).unwrap();
        for (index, file) in texts(&entry["images"]).into_iter().enumerate() {
            let row = |x: &Tensor| x.narrow(0, index, 1).unwrap();
            let worst = worst_difference(&row(&vectors), &row(wanted));
            assert!(worst <= tolerance, "{name}: {file} differs by {worst}");
        }
    }
}

/// Name in the reference of a part, as this program calls it.
fn own_name(name: &str) -> String {
    const OWN: [(&str, &str); 10] = [
        ("text_model.encoder.layers.", "transformer.resblocks."),
        ("text_model.final_layer_norm", "ln_final"),
        ("text_model.embeddings", "embeddings"),
        ("text_model.encoder.layer.", "encoder.layer."),
        (
            "vision_model.encoder.layers.",
            "visual.transformer.resblocks.",
        ),
        ("vision_model.pre_layrnorm", "visual.ln_pre"),
        ("vision_model.post_layernorm", "visual.ln_post"),
        ("vision_model.encoder.blocks.", "visual.encoder.blocks."),
        ("vision_model.embeddings", "visual.embeddings"),
        ("text.", ""),
    ];
    let own = OWN
        .iter()
        .find_map(|(theirs, own)| Some(format!("{own}{}", name.strip_prefix(theirs)?)));
    own.unwrap_or_else(|| name.to_owned())
}

/// The same for the vision transformer that pools by attention.
fn own_map_name(name: &str) -> String {
    name.replace("vision_model.encoder.layers.", "visual.trunk.blocks.")
        .replace("vision_model.post_layernorm", "visual.trunk.norm")
        .replace("vision_model.head", "visual.trunk.attn_pool")
}

/// Compares states `[rows, D]` with the rows of the reference that they are.
fn compare_states(what: &str, states: &Tensor, wanted: &Tensor, pooled: usize) {
    let width = states.dim(states.rank() - 1).unwrap();
    let states = states.reshape(((), width)).unwrap();
    let wanted = match wanted.dims() {
        // Channels come first in the reference.
        [1, _, _, _] if wanted.rank() == 4 => wanted.permute((0, 2, 3, 1)).unwrap(),
        _ => wanted.clone(),
    };
    let wanted = wanted.contiguous().unwrap().reshape(((), width)).unwrap();
    let largest = wanted.abs().unwrap().max_all().unwrap();
    let largest: f32 = largest.to_scalar().unwrap();
    let rows = states.dim(0).unwrap();
    let first = if rows == 1 && wanted.dim(0).unwrap() > 1 {
        pooled
    } else {
        0
    };
    let wanted = wanted.narrow(0, first, rows).unwrap();
    let worst = worst_difference(&states, &wanted);
    assert!(
        worst <= 1e-4 * largest,
        "{what} differs by {worst} of {largest}"
    );
}

#[test]
fn states_inside_the_towers_are_those_of_the_reference() {
    for Model {
        name,
        entry,
        embedder,
        ..
    } in models()
    {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let first = texts(&entry["texts"])[0];
        let tokenizer = embedder.tokenizer();
        let longest = Some(tokenizer.constants().context_length);
        let tokens = tokenizer.encode(&[first], longest).unwrap();
        let (_, mut taps) = embedder.inside_text(&tokens[0]).unwrap();
        let pooled = taps.iter().find(|tap| tap.name == "pooled");
        let pooled = pooled.map_or(0, |tap| tap.states.to_vec1::<u32>().unwrap()[0] as usize);
        let (_, of_image) = embedder.inside_image(&outputs["image/pixels"]).unwrap();
        taps.extend(of_image);
        let mut checked = 0;
        for (place, wanted) in &outputs {
            let Some((side, part)) = place.split_once("/tap/") else {
                continue;
            };
            let names = [own_name(part), own_map_name(part)];
            let tap = taps.iter().find(|tap| names.contains(&tap.name));
            let tap = tap.unwrap_or_else(|| panic!("{name}: nothing is known of {part}"));
            let row = if side == "text" { pooled } else { 0 };
            compare_states(&format!("{name}: {part}"), &tap.states, wanted, row);
            checked += 1;
        }
        assert!(checked > 1, "{name}");
    }
}

#[test]
fn half_precision_keeps_the_directions() {
    let entries = crate::golden::json(super::AREA, "models.json");
    let entries = list(&entries);
    let mut rounded = 0;
    for entry in entries {
        let name = text(&entry["model"]);
        let embed = |precision| {
            let spec = text(&entry["spec"]);
            let embedder = super::open_in(name, spec, precision, &Device::Cpu);
            let outputs = tensors(&format!("outputs/{name}.safetensors"));
            let texts = embedder.embed_texts(&texts(&entry["texts"])).unwrap();
            let images = embedder.embed_pixels(&outputs["image/pixels"]).unwrap();
            Tensor::cat(&[texts, images], 0).unwrap()
        };
        let single = embed(Precision::Single);
        for precision in [Precision::Half, Precision::Brain] {
            let half = embed(precision);
            let cosines = (&single * &half).unwrap().sum(1).unwrap();
            let cosines = cosines.to_vec1::<f32>().unwrap();
            let worst = cosines
                .iter()
                .fold(1f32, |worst, &cosine| worst.min(cosine));
            assert!(worst >= 0.999, "{name} as {precision:?}: {worst}");
            let norms = half
                .sqr()
                .unwrap()
                .sum(1)
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            assert!(
                norms.iter().all(|norm| (norm - 1.0).abs() <= 1e-5),
                "{name}"
            );
            rounded += usize::from(worst_difference(&single, &half) > 0.0);
        }
    }
    // Models that are stored in half precision are not changed by it.
    assert!(rounded > entries.len(), "{rounded} were rounded");
}

/// What towers compute on devices that have no fused kernels: the numbers of
/// the reference, and in half precision their directions.
#[test]
fn composed_towers_give_the_same() {
    let device = crate::device::device();
    for Model {
        name,
        entry,
        tolerance,
        ..
    } in models()
    {
        let outputs = tensors(&format!("outputs/{name}.safetensors"));
        let images = outputs["image/embeds"].narrow(0, 0, 1).unwrap();
        let wanted = Tensor::cat(&[&outputs["text/embeds"], &images], 0).unwrap();
        let embed = |precision| {
            let embedder = super::open_in(&name, text(&entry["spec"]), precision, &device);
            let (texts, images) = novic::ops::composed(|| {
                let texts = embedder.embed_texts(&texts(&entry["texts"]));
                (texts, embedder.embed_pixels(&outputs["image/pixels"]))
            });
            Tensor::cat(&[texts.unwrap(), images.unwrap()], 0).unwrap()
        };
        let worst = worst_difference(&embed(Precision::Single), &wanted);
        assert!(worst <= tolerance, "{name}: composed differs by {worst}");
        for precision in [Precision::Half, Precision::Brain] {
            let cosines = (embed(precision) * &wanted).unwrap().sum(1).unwrap();
            let cosines = cosines.to_vec1::<f32>().unwrap();
            let least = (cosines.iter()).fold(1f32, |least, &cosine| least.min(cosine));
            assert!(least >= 0.999, "{name} as {precision:?}: {least}");
        }
    }
}
