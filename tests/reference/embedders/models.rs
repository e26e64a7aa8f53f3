//! Every model: constants, tokens, target configurations, configuration
//! objects, embeddings.

use candle_core::{DType, Device, Tensor};
use novic::cache::hash::ConfigHash;
use novic::cache::{TargetConfig, TargetOptions};
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
