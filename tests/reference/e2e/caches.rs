//! The steps of the reference that make embedding caches, done by the program
//! from the same inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use novic::cache::{Cache, CacheFile, OpenOptions, Samples, TextFile, TextFileShape, verify};
use novic::cache::{IntDtype, VerifyWith};
use novic::nouns::{ClassNameVariant, class_names, clean_class_name};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::golden;

const AREA: &str = "e2e";

/// The settings of one step, from its command line.
pub(super) fn settings(kind: &str) -> BTreeMap<String, String> {
    let data = golden::json(AREA, "steps.json");
    let steps = data["steps"].as_array().unwrap();
    let action = format!("action={kind} ");
    let step = steps
        .iter()
        .find(|step| step["command"].as_str().unwrap().contains(&action));
    let command = step.unwrap_or_else(|| panic!("no step {kind}"))["command"]
        .as_str()
        .unwrap();
    let words = shlex::split(command).unwrap();
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

/// The validation images of the data set, in folders that are called as their
/// classes.
pub(super) fn plain_folder(root: &Path) {
    let cls = settings("cache_cls");
    let dataset = root
        .join(&cls["cls_dataset_root"])
        .join(&cls["cls_dataset"]);
    let inside = fs::read_dir(&dataset)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut synsets: Vec<PathBuf> = fs::read_dir(inside.join("val"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    synsets.sort();
    let names = class_names(ClassNameVariant::Clip, &cls["cls_dataset"], None)
        .unwrap()
        .unwrap();
    assert_eq!(names.len(), synsets.len());
    for (synset, name) in synsets.iter().zip(names) {
        copy_tree(
            synset,
            &root
                .join("classes")
                .join(clean_class_name(&name).replace(' ', "_")),
        );
    }
}

/// A working directory in which all stages have been run.
struct Run {
    folder: TempDir,
}

impl Run {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        copy_tree(&golden::area(AREA).join("inputs"), &root.join("inputs"));
        plain_folder(root);
        let (multi, captions) = (settings("cache_noun_multiset"), settings("cache_captions"));
        let merge = &settings("merge_caches")["embedding_datasets"];
        let repeat = merge.matches(&captions["save_embedding_cache"]).count();
        let text = |value: &str| Value::from(value).to_string();
        let experiment = format!(
            r#"
[experiment]
name = "e2e"
[embedder]
spec = {spec}
[nouns]
vocab_path = {vocab}
prompt_path = {prompts}
prompts = {collection}
vocab_threshold = {threshold}

[stage.texts]
kind = "cache_noun_dataset"
[stage.nouns]
kind = "convert_noun_dataset"
[stage.nouns_of_texts]
kind = "convert_noun_dataset"
inputs = ["texts"]
[stage.multi]
kind = "cache_noun_multiset"
multiset.freq = {freq}
[stage.captions]
kind = "cache_captions"
captions.path = {captions_path}
captions.templates = {templates}
captions.samples = {samples}
[stage.merged]
kind = "merge_caches"
inputs = ["multi", {{ stage = "captions", repeat = {repeat} }}]
[stage.merged_virtually]
kind = "merge_caches"
inputs = ["multi", {{ stage = "captions", repeat = {repeat} }}]
merge.virtual = true
[stage.small]
kind = "merge_caches"
inputs = ["merged_virtually"]
data.storage = "f16"
[stage.cls]
kind = "cache_cls"
cls.dataset = "./classes"
nouns.vocab_threshold = 0
[stage.images]
kind = "cache_images"
images.paths = ["inputs/images"]
[stage.part1]
kind = "cache_noun_multiset"
multiset.freq = {freq}
data.shard = "1/3"
[stage.part2]
kind = "cache_noun_multiset"
multiset.freq = {freq}
data.shard = "2/3"
[stage.part3]
kind = "cache_noun_multiset"
multiset.freq = {freq}
data.shard = "3/3"
[stage.joined]
kind = "cache_noun_multiset"
multiset.freq = {freq}
inputs = ["part3", "part1", "part2"]
[stage.loader]
kind = "test_data_loader"
inputs = ["merged_virtually"]
target.multi = true
target.weights = true
data.batch_size = 50
train.accum_factor = 3
[stage.evaluation]
kind = "test_data_loader"
inputs = ["small"]
data.batch_size = 50
test.training = false
[stage.embed_cache]
kind = "test_embed_cache"
"#,
            spec = text(&multi["embedder_spec"]),
            vocab = text(&multi["vocab_path"]),
            prompts = text(&multi["prompt_path"]),
            collection = text(&multi["prompt_collection"]),
            threshold = multi["vocab_thres"],
            freq = multi["multi_target_freq"],
            captions_path = text(&captions["captions_path"]),
            templates = captions["template_multiplier"],
            samples = captions["sample_multiplier"],
        );
        fs::write(root.join("e2e.toml"), experiment).unwrap();
        let data = golden::json(AREA, "steps.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
        command.current_dir(root).args(["run", "e2e.toml"]);
        for (name, value) in data["environment"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        command.env_remove("NOVIC_HOME").assert().success();
        Self { folder }
    }

    /// A file of the output of a stage.
    fn file(&self, stage: &str, name: &str) -> PathBuf {
        let store = self.folder.path().join(".novic/store");
        for kind in fs::read_dir(&store).unwrap() {
            for entry in fs::read_dir(kind.unwrap().path()).unwrap() {
                let dir = entry.unwrap().path();
                let Ok(manifest) = fs::read(dir.join("entry.json")) else {
                    continue;
                };
                let manifest: Value = serde_json::from_slice(&manifest).unwrap();
                if manifest["description"]["stage"] == stage {
                    return dir.join(name);
                }
            }
        }
        panic!("stage {stage} has no output");
    }

    fn cache(&self, stage: &str) -> Cache {
        open(&self.file(stage, "cache.bin"))
    }
}

fn open(path: &Path) -> Cache {
    CacheFile::open_any(path, OpenOptions::default())
        .unwrap()
        .enter_as_is()
        .unwrap()
}

fn all(cache: &Cache) -> Samples {
    cache.samples(0, u64::MAX).unwrap()
}

/// The cache that a step of the reference wrote.
fn reference(kind: &str) -> (Value, Option<PathBuf>) {
    let name = settings(kind)["save_embedding_cache"].clone();
    let caches = golden::json(AREA, "results/caches.json");
    let stored = caches[&name]["stored"] == true;
    let path = golden::area(AREA).join("results/cache").join(&name);
    (caches[&name].clone(), stored.then_some(path))
}

/// Checks everything that does not depend on random choices.
fn check(run: &Run, stage: &str, kind: &str) {
    let cache = run.cache(stage);
    let (expected, _) = reference(kind);
    let (found, header) = (cache.header(), &expected["header"]);
    let size = fs::metadata(cache.path()).unwrap().len();
    assert_eq!(size, expected["file_bytes"].as_u64().unwrap(), "{stage}");
    for (key, value) in [
        ("version", json!(found.version)),
        ("use_targets", json!(found.use_targets)),
        ("full_targets", json!(found.full_targets)),
        ("default_weights", json!(found.default_weights)),
        ("unit_weights", json!(found.unit_weights)),
        ("embedder_strict", json!(found.embedder_strict)),
        ("embedder_hash", json!(found.embedder_hash.to_string())),
        (
            "target_config_hash",
            json!(found.target_config_hash.to_string()),
        ),
        ("target_nouns_num", json!(found.target_nouns_num)),
        ("target_nouns_size", json!(found.target_nouns_size)),
        ("target_dim", json!(found.target_dim)),
        ("embed_num", json!(found.embed_num)),
        ("embed_targets_dim", json!(found.embed_targets_dim)),
        ("embed_dim", json!(found.embed_dim)),
        ("embed_dtype_id", json!(found.embed_dtype.id())),
    ] {
        assert_eq!(value, header[key], "{stage}: {key}");
    }
    if let Some(nouns) = cache.nouns() {
        assert_eq!(json!(nouns.all()), expected["target_nouns"], "{stage}");
        let columns = usize::from(found.target_dim);
        let (tokens, _) = cache.token_table().unwrap();
        let tokens: Vec<&[u32]> = tokens.chunks(columns).collect();
        assert_eq!(json!(tokens), expected["target_tokens"], "{stage}");
    }
    let findings = verify(cache.path(), VerifyWith::default(), |_| {}).unwrap();
    assert_eq!(findings.all(), [], "{stage}");
}

/// Rows per noun and target position.
fn rows_per_noun(cache: &Cache) -> Value {
    let targets = usize::from(cache.header().embed_targets_dim);
    let ids = all(cache).target_ids.unwrap();
    let counts = (0..targets).map(|position| {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for &id in ids.iter().skip(position).step_by(targets) {
            *counts
                .entry(cache.nouns().unwrap().noun(id).unwrap())
                .or_default() += 1;
        }
        json!(counts)
    });
    counts.collect()
}

/// Bits of the embedding and the targets of every row, counted.
fn counted(cache: &Cache) -> BTreeMap<(Vec<u32>, Vec<u32>), usize> {
    let samples = all(cache);
    let dim = usize::from(cache.header().embed_dim);
    let ids = samples.target_ids.unwrap_or_default();
    let targets = ids.len() / samples.len;
    let mut counts = BTreeMap::new();
    for (row, embed) in samples.embeds.into_f32().chunks(dim).enumerate() {
        let embed = embed.iter().map(|x| x.to_bits()).collect();
        let ids = ids[row * targets..][..targets]
            .iter()
            .copied()
            .filter(|id| *id != 0);
        *counts.entry((embed, ids.collect())).or_insert(0) += 1;
    }
    counts
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn caches_of_the_experiment() {
    let run = Run::new();
    for (stage, kind) in [
        ("nouns", "convert_noun_dataset"),
        ("multi", "cache_noun_multiset"),
        ("captions", "cache_captions"),
        ("merged", "merge_caches"),
        ("cls", "cache_cls"),
    ] {
        check(&run, stage, kind);
        let (expected, _) = reference(kind);
        assert_eq!(
            rows_per_noun(&run.cache(stage)),
            expected["rows_per_noun"],
            "{stage}"
        );
    }
    check(&run, "images", "cache_images");

    texts(&run);
    merges(&run);
    pictures(&run);
    assert_eq!(
        fs::read(run.file("joined", "cache.bin")).unwrap(),
        fs::read(run.file("multi", "cache.bin")).unwrap()
    );
    assert_eq!(
        fs::read(run.file("nouns_of_texts", "cache.bin")).unwrap(),
        fs::read(run.file("nouns", "cache.bin")).unwrap()
    );
}

/// Text embeddings, from the text cache and in the converted noun dataset.
fn texts(run: &Run) {
    let expected = golden::tensors(AREA, "results/embeddings.safetensors");
    let vectors = expected.get("noun_texts").f32s();
    let dim = expected.get("noun_texts").shape[1];
    let texts = golden::json(AREA, "results/noun_texts.json");
    let texts = texts.as_array().unwrap();
    let cache = run.cache("nouns");
    let shape = TextFileShape {
        dim,
        columns: usize::from(cache.header().target_dim),
        token_dtype: IntDtype::I64,
        masks: true,
        texts: texts.len() as u64,
    };
    let file = TextFile::open(run.file("texts", "noun_dataset.bin"), shape).unwrap();
    let found = file.texts(0, u64::MAX).unwrap();
    assert!(largest_difference(&found.embeds, &vectors) < 2e-5);
    let samples: BTreeSet<Vec<u32>> = all(&cache)
        .embeds
        .into_f32()
        .chunks(dim)
        .map(|row| row.iter().map(|x| x.to_bits()).collect())
        .collect();
    let texts: BTreeSet<Vec<u32>> = found
        .embeds
        .chunks(dim)
        .map(|row| row.iter().map(|x| x.to_bits()).collect())
        .collect();
    assert_eq!(samples, texts);
}

/// What is merged, really and virtually.
fn merges(run: &Run) {
    let merged = run.cache("merged");
    let merge = &settings("merge_caches")["embedding_datasets"];
    let repeat = merge
        .matches(&settings("cache_captions")["save_embedding_cache"])
        .count();
    let mut expected = counted(&run.cache("multi"));
    for (row, count) in counted(&run.cache("captions")) {
        *expected.entry(row).or_insert(0) += count * repeat;
    }
    assert_eq!(counted(&merged), expected);

    let seen = open(&run.file("merged_virtually", "cache.json"));
    assert_eq!(all(&seen), all(&merged));
    let small = all(&run.cache("small"));
    assert_eq!(small.len, all(&merged).len);
    assert_eq!(run.cache("small").header().version, 2);
}

/// Image embeddings, compared with those of the reference, whose order is not
/// known.
fn pictures(run: &Run) {
    let rows = |cache: &Cache| -> Vec<Vec<f32>> {
        let dim = usize::from(cache.header().embed_dim);
        let embeds = all(cache).embeds.into_f32();
        embeds.chunks(dim).map(<[f32]>::to_vec).collect()
    };
    let (_, path) = reference("cache_images");
    let expected = rows(&open(&path.unwrap()));
    let files = golden::json(AREA, "results/images.json");
    let names: Value =
        serde_json::from_slice(&fs::read(run.file("images", "pictures.json")).unwrap()).unwrap();
    let mut found = BTreeSet::new();
    for (name, embed) in names
        .as_array()
        .unwrap()
        .iter()
        .zip(rows(&run.cache("images")))
    {
        let path = Path::new(name["picture"].as_str().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = files
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["file"] == name)
            .unwrap();
        if file["mode"] == "I;16" {
            // The original makes nearly all pixels of these white.
            continue;
        }
        let differences = expected.iter().map(|row| largest_difference(row, &embed));
        let (at, nearest) = differences
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        let tolerance = if file["format"] == "JPEG" {
            2.5e-2
        } else {
            2e-3
        };
        assert!(nearest < tolerance, "{name}: {nearest}");
        assert!(found.insert(at), "{name}");
    }
    assert_eq!(names.as_array().unwrap().len(), expected.len());
}

#[test]
fn caches_of_the_reference_open() {
    let folder = golden::area(AREA).join("results/cache");
    let mut opened = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let findings = verify(&path, VerifyWith::default(), |_| {}).unwrap();
        assert_eq!(findings.all(), [], "{}", path.display());
        opened += 1;
    }
    assert!(opened > 0);
}
