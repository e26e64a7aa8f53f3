//! Stages that make, check and use caches, as experiments name them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

const NOUNS: &str = r#"[
{"id":0,"target_noun":"fox","pretty_noun":"fox","singulars":["fox"],"plurals":["foxes"],"singulars_freq":[3],"plurals_freq":[2],"hypernyms":[]},
{"id":1,"target_noun":"sheep","pretty_noun":"sheep","singulars":["sheep"],"plurals":["sheep"],"singulars_freq":[2],"plurals_freq":[2],"hypernyms":[]},
{"id":2,"target_noun":"ax","pretty_noun":"ax","singulars":["axe"],"plurals":["axes"],"singulars_freq":[2],"plurals_freq":[2],"hypernyms":[]},
{"id":3,"target_noun":"axis","pretty_noun":"axis","singulars":["axis"],"plurals":["axes"],"singulars_freq":[2],"plurals_freq":[2],"hypernyms":[]}
]"#;

/// Two templates that differ by white space only.
const PROMPTS: &str = r#"{"prompts": {"Few": [[1, "{noun}"], [2, "a photo of {article_noun}."], [1, "a photo  of {article_noun}"], [1, "what is {article_noun}?"]]}, "hypernyms": {"None": [[1, null]]}}"#;

const START: &str = r#"
[embedder]
spec = "openclip:novic/drawings"

[nouns]
vocab_path = "nouns.json"
prompt_path = "prompts.json"
prompts = "Few"
"#;

fn run(folder: &Folder, text: &str, more: &[&str]) -> Call {
    fs::write(folder.path("caches.toml"), text).unwrap();
    fs::write(folder.path("nouns.json"), NOUNS).unwrap();
    fs::write(folder.path("prompts.json"), PROMPTS).unwrap();
    folder.call(&[&["run", "caches.toml"], more].concat())
}

#[track_caller]
fn says(call: &Call, parts: &[&str]) {
    for part in parts {
        assert!(call.err.contains(part), "no `{part}` in:\n{}", call.err);
    }
}

#[test]
fn the_texts_of_nouns_are_shown_counted_and_checked() {
    let folder = Folder::new();
    let text = format!(
        "{START}\n[stage.texts]\nkind = \"cache_noun_dataset\"\n\n[stage.test]\nkind = \
         \"test_data_loader\"\ninputs = [\"texts\"]\ntest.print = 24\ntest.consistent = true\n\
         data.batch_size = 4\ntrain.accum_factor = 1\n"
    );
    let call = run(&folder, &text, &[]).expect(0);
    says(
        &call,
        &[
            // Unusual entries and templates.
            "(\"ax\"): the target noun is not one of the spellings",
            "\"a photo of {article_noun}.\" and count as one",
            // Numbers.
            "4 entries, 4 with a frequency above 0",
            "prompts Few: 3 singular, 3 plural",
            "4 target nouns (TIDs), 85 samples (FSIDs), 24 unique texts (USIDs)",
            // Samples.
            "0:0: 3 × fox.",
            "what is a fox?",
            "1 come again because plural and singular of a noun are alike, 3 because two nouns",
        ],
    );

    let original = run(&folder, &text, &["nouns.text_rules=original"]).expect(0);
    says(&original, &["prompts Few: 4 singular", "what is a fox?."]);
    assert!(!original.err.contains("count as one"), "{}", original.err);

    // A text cache with a row in the wrong place.
    let cache = folder
        .output_of("cache_noun_dataset")
        .join("noun_dataset.bin");
    let mut bytes = fs::read(&cache).unwrap();
    let slot = bytes.len() / 33;
    bytes.copy_within(slot..2 * slot, 2 * slot);
    fs::write(&cache, bytes).unwrap();
    let again = ["nouns.text_rules=original", "stage.test.data.batch_size=5"];
    let wrong = run(&folder, &text, &again).expect(1);
    says(&wrong, &["another embedding", "make the cache again"]);
}

/// Vectors of a text cache by the hash of the text, and its number of rows.
fn vectors(entry: &Path) -> (HashMap<Vec<u8>, Vec<u8>>, usize) {
    let hashes = fs::read(entry.join("noun_dataset.hashes")).unwrap();
    let slots = fs::read(entry.join("noun_dataset.bin")).unwrap();
    let rows = hashes.len() / 16;
    let slot = slots.len() / (rows + 1);
    let of_rows = hashes.chunks(16).zip(slots.chunks(slot).skip(1));
    let vector = |(hash, slot): (&[u8], &[u8])| (hash.to_vec(), slot[..256 * 4].to_vec());
    (of_rows.map(vector).collect(), rows)
}

#[test]
fn known_texts_are_not_embedded_again_if_wanted() {
    let folder = Folder::new();
    let text = format!("{START}\n[stage.texts]\nkind = \"cache_noun_dataset\"\n");
    let first = run(&folder, &text, &["nouns.vocab_threshold=4"]).expect(0);
    assert!(!first.err.contains("were taken"), "{}", first.err);
    let (known, rows) = vectors(&folder.output_of("cache_noun_dataset"));
    assert!(rows > 0 && known.len() <= rows);

    // A mark that a vector made anew would not have: within rounding, so that
    // the check of a sample passes.
    let cache = folder
        .output_of("cache_noun_dataset")
        .join("noun_dataset.bin");
    let mut bytes = fs::read(&cache).unwrap();
    let slot = bytes.len() / (rows + 1);
    for row in 1..=rows {
        bytes[row * slot] ^= 1;
    }
    fs::write(&cache, bytes).unwrap();
    let (marked, _) = vectors(&folder.output_of("cache_noun_dataset"));
    assert_ne!(known, marked);

    let all = run(&folder, &text, &["nouns.reuse=true"]).expect(0);
    says(
        &all,
        &[&format!(
            "vectors of {rows} texts were taken from 1 text caches of the store"
        )],
    );
    let (vectors_of_all, more) = vectors(&folder.output_of("cache_noun_dataset"));
    assert!(more > rows);
    for (hash, vector) in &marked {
        assert_eq!(vectors_of_all.get(hash), Some(vector));
    }

    // Vectors of another model are none of this one.
    let other = ["nouns.reuse=true", "embedder.dtype=f16"];
    says(
        &run(&folder, &text, &other).expect(0),
        &["vectors of 0 texts were taken"],
    );
}

#[test]
fn pictures_are_cached_in_parts_and_joined_to_the_same_file() {
    let folder = Folder::new();
    for (number, name) in ["fox.png", "key.png", "snail.png"].iter().enumerate() {
        for copy in 0..3 {
            let to = folder.path(&format!(
                "many/{}/{copy}.png",
                ["fox", "axe", "sheep"][number]
            ));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(repository("extras/demo").join(name), to).unwrap();
        }
    }
    let text = format!(
        "{START}\n[images]\npaths = [\"many/fox\", \"many/axe\", \"many/sheep\"]\n\
         [cls]\ndataset = \"./many\"\n\
         [stage.whole]\nkind = \"cache_images\"\n\
         [stage.one]\nkind = \"cache_images\"\ndata.shard = \"1/2\"\n\
         [stage.two]\nkind = \"cache_images\"\ndata.shard = \"2/2\"\n\
         [stage.joined]\nkind = \"cache_images\"\ninputs = [\"two\", \"one\"]\n\
         [stage.classes]\nkind = \"cache_cls\"\n\
         [stage.classes_one]\nkind = \"cache_cls\"\ndata.shard = \"1/2\"\n\
         [stage.classes_two]\nkind = \"cache_cls\"\ndata.shard = \"2/2\"\n\
         [stage.classes_joined]\nkind = \"cache_cls\"\ninputs = [\"classes_one\", \"classes_two\"]\n\
         [stage.zero_shot]\nkind = \"embedder_zero_shot\"\n\
         [stage.zero_shot_cached]\nkind = \"embedder_zero_shot\"\ninputs = [\"classes\"]\n"
    );
    run(&folder, &text, &[]).expect(0);
    let outputs = |kind: &str, file: &str| {
        let shelf = folder.path(".novic/store").join(kind);
        let mut found: Vec<Vec<u8>> = fs::read_dir(shelf)
            .unwrap()
            .filter_map(|entry| fs::read(entry.unwrap().path().join(file)).ok())
            .collect();
        found.sort_by_key(Vec::len);
        found
    };
    for (kind, wholes) in [("cache_images", 2), ("cache_cls", 2)] {
        for file in ["cache.bin", "pictures.json"] {
            let files = outputs(kind, file);
            assert_eq!(files.len(), 4, "{kind}");
            let whole = &files[4 - wholes..];
            assert!(whole[0] == whole[1], "{kind}: {file} differs when joined");
            assert!(files[1].len() < whole[0].len());
        }
    }
    let reports = outputs("embedder_zero_shot", "zero_shot.json");
    assert_eq!(reports.len(), 2);
    let report = |index: usize| -> Value { serde_json::from_slice(&reports[index]).unwrap() };
    assert_eq!(report(0)[0]["samples"], 9);
    assert_eq!(report(0)[0]["top1"], report(1)[0]["top1"]);
    assert_eq!(report(0)[0]["classes"], report(1)[0]["classes"]);
}

#[test]
fn class_names_of_several_nouns_are_listed_or_refused() {
    let folder = Folder::new();
    for (class, picture) in [("fox", "fox.png"), ("axes", "key.png")] {
        let to = folder.path(&format!("two/{class}/1.png"));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(repository("extras/demo").join(picture), to).unwrap();
    }
    let text = format!("{START}\n[cls]\ndataset = \"./two\"\n[stage.cls]\nkind = \"cache_cls\"\n");
    let first = run(&folder, &text, &[]).expect(0);
    says(&first, &["\"axes\"", "(ax, axis)", "the first is taken"]);
    let strict = run(&folder, &text, &["cls.strict=true"]).expect(1);
    says(&strict, &["axes", "several nouns"]);
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn every_damage_of_a_cache_is_told() {
    let folder = Folder::new();
    let golden = repository("tests/golden/embedding-cache");
    let cases = fs::read(golden.join("damage.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let base = format!("caches/{}.bin", case["base"].as_str().unwrap());
        let sound = fs::read(golden.join(base)).unwrap();
        let mut bytes = sound.clone();
        for patch in case["patch"].as_array().unwrap() {
            let start = patch[0].as_u64().unwrap() as usize;
            let patch = unhex(patch[1].as_str().unwrap());
            bytes[start..start + patch.len()].copy_from_slice(&patch);
        }
        if let Some(size) = case["truncate"].as_u64() {
            bytes.truncate(size as usize);
        }
        bytes.extend(unhex(case["append"].as_str().unwrap_or_default()));
        let file = format!("{name}.bin");
        fs::write(folder.path(&file), &bytes).unwrap();
        let call = folder.call(&["cache", "verify", &file]);
        // Another hash is only seen with the embedder it should be of.
        let of_another = (name.starts_with("embedder_hash") || name.starts_with("target_hash"))
            && name != "embedder_hash_lax_file";
        let code = i32::from(bytes != sound && !of_another);
        let call = call.expect(code);
        assert!(call.out.contains(&file), "{name}: {}", call.out);
        assert!(code == 0 || call.out.lines().count() > 1, "{name}");
    }
}
