//! What tools do with the reference caches: verifying, storing in less
//! precision, virtual merges.

use std::sync::Arc;

use novic::cache::{
    Cache, CacheFile, CacheWriter, DataConfig, DataRequest, FilePlan, FloatDtype, Loader,
    LoaderInfo, LoaderMode, MergeOptions, OpenOptions, VerifyWith, VirtualMerge, verify,
};
use novic::config::schema::MultiMode;
use tempfile::TempDir;

use super::AREA;
use super::damage::damaged;
use super::fixtures::GoldenCache;
use crate::golden;

fn findings(cache: &GoldenCache, path: &std::path::Path) -> Vec<String> {
    let signature = cache.signature();
    let tokenizer = cache.target_config().map(|_| cache.tokenizer());
    let with = VerifyWith {
        embedder: Some(&signature),
        tokenizer: tokenizer.as_ref().map(|tokenizer| tokenizer as _),
    };
    let findings = verify(path, with, |_| {}).unwrap();
    findings
        .all()
        .iter()
        .map(|finding| finding.what.clone())
        .collect()
}

#[test]
fn sound_files_have_no_findings() {
    for cache in GoldenCache::all() {
        assert_eq!(findings(&cache, &cache.path()), [""; 0], "{}", cache.name);
        let alone = verify(&cache.path(), VerifyWith::default(), |_| {}).unwrap();
        assert_eq!(alone.all(), [], "{}", cache.name);
    }
}

#[test]
fn every_damage_of_a_file_is_found() {
    let data = golden::json(AREA, "damage.json");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.bin");
    for case in data["cases"].as_array().unwrap() {
        let cache = GoldenCache::named(case["base"].as_str().unwrap());
        let sound = std::fs::read(cache.path()).unwrap();
        let bytes = damaged(case, sound.clone());
        std::fs::write(&path, &bytes).unwrap();
        let found = findings(&cache, &path);
        assert_eq!(
            found.is_empty(),
            bytes == sound,
            "{}: {found:?}",
            case["case"]
        );
        assert!(found.iter().all(|what| what.len() > 10), "{found:?}");
    }
}

fn enter(cache: &GoldenCache, path: &std::path::Path) -> Cache {
    let file = CacheFile::open(path, &cache.signature(), OpenOptions::default()).unwrap();
    file.enter(cache.target_config().as_ref(), None).unwrap()
}

fn copy(cache: &Cache, plan: &FilePlan, path: &std::path::Path) {
    let mut writer = CacheWriter::create(path, plan).unwrap();
    let default_weights = cache.header().default_weights;
    cache
        .for_each_chunk(0..cache.len(), |samples| {
            writer.write(&samples.rows(default_weights))
        })
        .unwrap();
    writer.finish().unwrap();
}

#[test]
fn copies_are_byte_identical() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("copy.bin");
    for cache in GoldenCache::all() {
        let opened = enter(&cache, &cache.path());
        copy(&opened, &FilePlan::copying(&opened).unwrap(), &path);
        let (copied, original) = (std::fs::read(&path), std::fs::read(cache.path()));
        assert_eq!(copied.unwrap(), original.unwrap(), "{}", cache.name);
    }
}

#[test]
fn embeddings_can_be_stored_in_less() {
    let folder = TempDir::new().unwrap();
    let (small, again) = (
        folder.path().join("small.bin"),
        folder.path().join("again.bin"),
    );
    let mut tested = 0;
    for cache in GoldenCache::all() {
        let original = enter(&cache, &cache.path());
        for (stored, tolerance) in [(FloatDtype::F16, 1e-3), (FloatDtype::BF16, 8e-3)] {
            let plan = FilePlan::copying(&original).unwrap().stored_as(stored);
            if original.header().embed_dtype != FloatDtype::F32 {
                assert!(plan.is_err() || original.header().embed_dtype == stored);
                continue;
            }
            copy(&original, &plan.unwrap(), &small);
            let read = enter(&cache, &small);
            let (a, b) = (original.samples(0, u64::MAX), read.samples(0, u64::MAX));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(
                (a.target_ids, a.weights),
                (b.target_ids, b.weights),
                "{}",
                cache.name
            );
            let (a, b) = (a.embeds.into_f32(), b.embeds.into_f32());
            assert!(
                a.iter().zip(&b).all(|(a, b)| (a - b).abs() < tolerance),
                "{}",
                cache.name
            );
            assert_ne!(a, b, "{}", cache.name);
            assert_eq!(findings(&cache, &small), [""; 0], "{}", cache.name);
            // Such a file can be copied and merged like any other.
            copy(&read, &FilePlan::copying(&read).unwrap(), &again);
            let copied = enter(&cache, &again)
                .samples(0, u64::MAX)
                .unwrap()
                .embeds
                .into_f32();
            assert_eq!(copied, b, "{}", cache.name);
            let sizes = [&small, &again].map(|path| std::fs::metadata(path).unwrap().len());
            let saved = read.len() * u64::from(read.header().embed_dim) * 2;
            assert_eq!(sizes[1] - sizes[0], saved, "{}", cache.name);
            tested += 1;
        }
    }
    assert!(tested > 0);
}

#[test]
fn virtual_merges_deliver_the_batches_of_the_merged_file() {
    let folder = TempDir::new().unwrap();
    let (real, virtual_file) = (folder.path().join("real.bin"), folder.path().join("v.json"));
    let mut caches = GoldenCache::all();
    caches.retain(|cache| !cache.entry["merge"].is_null());
    assert!(!caches.is_empty());
    for cache in caches {
        let names: Vec<String> =
            serde_json::from_value(cache.entry["merge"]["inputs"].clone()).unwrap();
        let repeats: Vec<usize> =
            serde_json::from_value(cache.entry["merge"]["freqs"].clone()).unwrap();
        let inputs: Vec<GoldenCache> = names.iter().map(|name| GoldenCache::named(name)).collect();
        let mut manifest = VirtualMerge::new(MultiMode::Max, None, 7);
        for (input, repeat) in inputs.iter().zip(&repeats) {
            manifest = manifest.with(std::path::absolute(input.path()).unwrap(), *repeat);
        }
        manifest.write(&virtual_file).unwrap();
        let files = inputs
            .iter()
            .map(|input| input.open(None).unwrap())
            .collect();
        let options = MergeOptions::shuffled(7);
        let merged = CacheFile::merged(files, &repeats, options, &cache.signature()).unwrap();
        let merged = merged.enter(cache.target_config().as_ref(), None).unwrap();
        copy(&merged, &FilePlan::copying(&merged).unwrap(), &real);

        let epochs = |path: &std::path::Path| {
            let opened = enter(&cache, path);
            let request = DataRequest::default();
            let (nominal, strict) = opened.nominal();
            let data = DataConfig::resolve(&nominal, &strict, &request, true).unwrap();
            assert!(data.use_weights);
            let info = LoaderInfo::new(opened.len(), 5, LoaderMode::Training, 2).unwrap();
            let loader = Loader::new(Arc::new(opened), data, info, 3);
            let epochs = (0..3).flat_map(|epoch| loader.epoch(epoch, 0, u64::MAX));
            epochs.map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(epochs(&virtual_file), epochs(&real), "{}", cache.name);
        assert_eq!(findings(&cache, &virtual_file), [""; 0], "{}", cache.name);
        // Parts are found from the folder of the file, and must be caches.
        let nested = VirtualMerge::new(MultiMode::Max, None, 1).with("v.json", 1);
        let path = folder.path().join("nested.json");
        nested.write(&path).unwrap();
        let error = CacheFile::open_any(&path, OpenOptions::default()).unwrap_err();
        assert!(error.to_string().contains("virtual merge, too"), "{error}");
    }
}
