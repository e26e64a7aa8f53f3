//! `caches.json`, `caches/`, `records/`: everything in a file is read back.

use serde_json::{Value, json};

use super::fixtures::{GoldenCache, floats};

#[test]
fn headers_and_layouts() {
    for cache in GoldenCache::all() {
        let file = cache.open(None).unwrap();
        let header = file.header();
        let read = json!({
            "version": novic::cache::header::VERSION,
            "magic_bytes": hex(&novic::cache::header::MAGIC),
            "use_targets": header.use_targets,
            "full_targets": header.full_targets,
            "default_weights": header.default_weights,
            "unit_weights": header.unit_weights,
            "embedder_strict": header.embedder_strict,
            "embedder_hash": header.embedder_hash.to_string(),
            "target_config_hash": header.target_config_hash.to_string(),
            "target_nouns_num": header.target_nouns_num,
            "target_nouns_size": header.target_nouns_size,
            "target_dim": header.target_dim,
            "target_dtype_id": header.target_dtype.id(),
            "target_mask_dtype_id": 0,
            "embed_num": header.embed_num,
            "embed_targets_dim": header.embed_targets_dim,
            "embed_targets_dtype_id": header.embed_targets_dtype.id(),
            "embed_dim": header.embed_dim,
            "embed_dtype_id": header.embed_dtype.id(),
        });
        let expected = cache.entry["header"].as_object().unwrap();
        for (field, value) in expected {
            assert_eq!(&read[field], value, "{}: {field}", cache.name);
        }
        assert_eq!(expected.len(), read.as_object().unwrap().len());

        let layout = header.layout();
        let meta = &cache.entry["meta"];
        for (name, section) in [
            ("target", layout.tokens),
            ("target_mask", layout.masks),
            ("embed_targets", layout.target_ids),
            ("embed_target_weights", layout.weights),
            ("embed", layout.embeds),
        ] {
            assert_eq!(meta[format!("{name}_offset")], section.offset, "{name}");
            assert_eq!(meta[format!("{name}_size")], section.size(), "{name}");
            assert_eq!(meta[format!("{name}_stride")], section.stride, "{name}");
        }
        assert_eq!(meta["target_nouns_offset"], layout.nouns.offset);
        assert_eq!(meta["target_nouns_size"], layout.nouns.size());
        assert_eq!(meta["total_size"], layout.total_size());
        assert_eq!(cache.entry["size"], layout.total_size());
    }
}

#[test]
fn every_record_is_read_back() {
    for cache in GoldenCache::all() {
        let name = &cache.name;
        let file = cache.open(None).unwrap();
        let opened = file.enter(cache.target_config().as_ref(), None).unwrap();
        let records = cache.records();

        if let Some(nouns) = opened.nouns() {
            let expected: Vec<&str> = cache.entry["target_nouns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|noun| noun.as_str().unwrap())
                .collect();
            assert_eq!(nouns.all(), expected, "{name}");
            let (tokens, padding) = opened.token_table().unwrap();
            let tokens: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
            assert_eq!(tokens, records.get("target_token_ids").integers(), "{name}");
            let padding: Vec<i64> = padding.iter().map(|&masked| i64::from(masked)).collect();
            assert_eq!(padding, records.get("target_mask").integers(), "{name}");
        }

        let len = opened.len();
        let all = opened.samples(0, u64::MAX).unwrap();
        assert_eq!(all.len as u64, len);
        assert_eq!(all.embeds, floats(records.get("embeds")), "{name}");
        if opened.nouns().is_some() {
            let ids: Vec<i64> = all.target_ids.unwrap().into_iter().map(i64::from).collect();
            assert_eq!(ids, records.get("embed_targets").integers(), "{name}");
            let weights = floats(records.get("embed_target_weights"));
            assert_eq!(all.weights.unwrap(), weights, "{name}");
        } else {
            assert_eq!((all.target_ids, all.weights), (None, None), "{name}");
        }

        let empty = opened.samples(len, len + 3).unwrap();
        assert_eq!(empty.len, 0);
        let tail = opened.samples(len - 1, len + 3).unwrap();
        assert_eq!(tail.len, 1);
    }
}

#[test]
fn configurations_have_the_hashes_of_the_files() {
    for cache in GoldenCache::all() {
        let text = |key: &str| cache.entry[key].as_str().unwrap();
        let configuration = &cache.entry["embedder"]["configuration"];
        assert_eq!(
            novic::cache::hash::canonical_json(configuration),
            text("embedder_hash_input")
        );
        let strict = cache.entry["header"]["embedder_strict"] == Value::Bool(true);
        if strict {
            assert_eq!(
                cache.entry["header"]["embedder_hash"],
                cache.signature().hash.to_string()
            );
        }
        if let (true, Some(config)) = (strict, cache.target_config()) {
            assert_eq!(
                cache.entry["header"]["target_config_hash"],
                config.hash().to_string(),
                "{}",
                cache.name
            );
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
