//! Speed of embedding caches, as ratios to a plain sequential copy of the
//! same bytes in the same run, and of cold reading as ratios to plain
//! sequential reading of the same file when nothing of it is in memory. With a
//! file that is larger than the memory (or `systemd-run -p MemoryMax=…`) all of
//! it is read from the disk anyway:
//!
//! ```text
//! cargo bench --bench cache -- [SAMPLES] [DIM] [FOLDER]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use novic::cache::{
    Cache, CacheFile, CacheWriter, DataConfig, DataRequest, EmbedderSignature, FileFlags, FilePlan,
    FloatDtype, Loader, LoaderInfo, LoaderMode, MergeOptions, NounTable, OpenOptions,
    ResumableCacheWriter, RowOrder, SampleRows, TargetConfig, TargetOptions, TargetPlan,
};
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use serde_json::json;

const CALL: usize = 512;
const NOUNS: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let samples: usize = args.next().map_or(Ok(200_000), |arg| arg.parse())?;
    let dim: usize = args.next().map_or(Ok(1152), |arg| arg.parse())?;
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::TempDir::new_in(folder)?;
    let work = Work::new(samples, dim)?;

    let path = folder.path().join("cache.bin");
    let in_order = timed(|| work.write(&path, RowOrder::AsWritten))?;
    let bytes = std::fs::metadata(&path)?.len();
    let copied = folder.path().join("copy.bin");
    println!("{samples} samples × {dim}, {:.2} GB", bytes as f64 / 1e9);
    copy(&path, &copied)?;
    std::fs::remove_file(&copied)?;
    let plain = timed(|| copy(&path, &copied))?;
    // Replacing a file would also measure the removal of the old one.
    std::fs::remove_file(&copied)?;
    std::fs::remove_file(&path)?;
    let shuffled = timed(|| work.write(&path, RowOrder::Shuffled { seed: 1 }))?;
    let resumable = timed(|| work.write_resumable(&folder.path().join("resumable.bin")))?;
    let report = |what: &str, seconds: f64| {
        println!(
            "{what:<34} {seconds:>7.2} s  {:>6.2} GB/s  {:>5.2} × copy",
            bytes as f64 / seconds / 1e9,
            plain / seconds
        );
    };
    report("plain copy", plain);
    report("write in order", in_order);
    report("write shuffled", shuffled);
    report("write shuffled, 16 checkpoints", resumable);

    let merged = folder.path().join("merged.bin");
    std::fs::remove_file(folder.path().join("resumable.bin"))?;
    let merge = timed(|| work.merge(&path, &merged))?;
    report("merge", merge);
    let converted = timed(|| work.convert(&path, &folder.path().join("small.bin")))?;
    report("store in half precision", converted);

    let cache = Arc::new(work.open(&path)?);
    for workers in [0, 1, 2, 4] {
        let seconds = timed(|| work.read(&cache, workers))?;
        report(
            &format!("read 512-sample batches, {workers} threads"),
            seconds,
        );
    }
    drop_cached(&path)?;
    let sequential = timed(|| read_through(&path))?;
    let cold = |what: &str, seconds: f64| {
        println!(
            "{what:<34} {seconds:>7.2} s  {:>6.2} GB/s  {:>5.2} × sequential",
            bytes as f64 / seconds / 1e9,
            sequential / seconds
        );
    };
    cold("sequential read, cold", sequential);
    for workers in [1, 4] {
        drop_cached(&path)?;
        let seconds = timed(|| work.read(&cache, workers))?;
        cold(&format!("read shuffled, cold, {workers} threads"), seconds);
    }
    if let Some(peak) = peak_memory() {
        println!("largest memory of all this: {:.0} MB", peak as f64 / 1e6);
    }
    let cache = Arc::new(work.merged(&path)?);
    for workers in [1, 4] {
        let seconds = timed(|| work.read(&cache, workers))?;
        report(&format!("read a virtual merge, {workers} threads"), seconds);
    }
    Ok(())
}

/// Forgets what is in memory of a file that is on the disk.
fn drop_cached(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(
        &file,
        0,
        None,
        rustix::fs::Advice::DontNeed,
    )?)
}

fn read_through(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Most bytes that this process had in memory at a time.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

fn timed<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        to.write_all(&buffer[..len])?;
    }
    Ok(to.sync_all()?)
}

fn copy_rows(cache: &Cache, plan: &FilePlan, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut writer = CacheWriter::create(out, plan)?;
    let default_weights = cache.header().default_weights;
    cache.for_each_chunk(0..cache.len(), |samples| {
        writer.write(&samples.rows(default_weights))
    })?;
    Ok(writer.finish()?)
}

struct Work {
    samples: usize,
    signature: EmbedderSignature,
    config: TargetConfig,
    targets: TargetPlan,
    embeds: Vec<f32>,
}

impl Work {
    fn new(samples: usize, dim: usize) -> Result<Self, Box<dyn Error>> {
        let signature = EmbedderSignature::new(
            dim,
            FloatDtype::F32,
            TokenDtype::I64,
            &json!({"class": "Benchmark"}),
        );
        let nouns = NounTable::new((0..NOUNS).map(|noun| noun.to_string()))?;
        let config = TargetConfig::build(&Digits::new(), nouns.valid(), &TargetOptions::default())?;
        let targets = TargetPlan::new(&config, &Digits::new(), nouns, 1)?;
        let mut embeds = Vec::with_capacity(CALL * dim);
        for row in 0..CALL {
            let values: Vec<f64> = (0..dim)
                .map(|at| ((row * 31 + at * 17) % 97 + 1) as f64)
                .collect();
            let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            embeds.extend(values.into_iter().map(|value| (value / norm) as f32));
        }
        Ok(Self {
            samples,
            signature,
            config,
            targets,
            embeds,
        })
    }

    fn plan(&self, order: RowOrder) -> Result<FilePlan, Box<dyn Error>> {
        let (targets, flags) = (Some(&self.targets), FileFlags::default());
        Ok(FilePlan::new(
            self.samples as u64,
            &self.signature,
            targets,
            flags,
            order,
        )?)
    }

    fn calls(
        &self,
        mut write: impl FnMut(&SampleRows<'_>) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let mut start = 0;
        while start < self.samples {
            let len = CALL.min(self.samples - start);
            let ids: Vec<u32> = (start..start + len)
                .map(|at| (at % NOUNS) as u32 + 1)
                .collect();
            write(&SampleRows {
                embeds: self.embeds[..len * self.signature.dim].into(),
                target_ids: Some(&ids),
                weights: None,
            })?;
            start += len;
        }
        Ok(())
    }

    fn write(&self, path: &Path, order: RowOrder) -> Result<(), Box<dyn Error>> {
        let mut writer = CacheWriter::create(path, &self.plan(order)?)?;
        self.calls(|rows| Ok(writer.write(rows)?))?;
        Ok(writer.finish()?)
    }

    fn write_resumable(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut writer =
            ResumableCacheWriter::open(path, &self.plan(RowOrder::Shuffled { seed: 1 })?)?;
        let mut next = 0;
        self.calls(|rows| {
            writer.write(rows)?;
            if writer.written() as usize * 16 / self.samples > next {
                next += 1;
                writer.checkpoint()?;
            }
            Ok(())
        })?;
        Ok(writer.finish()?)
    }

    /// A shuffled merge of one file: as many bytes are read and written as by
    /// a copy.
    fn merged(&self, path: &Path) -> Result<Cache, Box<dyn Error>> {
        let file = CacheFile::open(path, &self.signature, OpenOptions::default())?;
        let options = MergeOptions::shuffled(1);
        let merged = CacheFile::merged(vec![file], &[1], options, &self.signature)?;
        Ok(merged.enter(Some(&self.config), None)?)
    }

    fn merge(&self, path: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
        let cache = self.merged(path)?;
        copy_rows(&cache, &FilePlan::copying(&cache)?, out)
    }

    fn convert(&self, path: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
        let cache = self.open(path)?;
        copy_rows(
            &cache,
            &FilePlan::copying(&cache)?.stored_as(FloatDtype::F16)?,
            out,
        )
    }

    fn open(&self, path: &Path) -> Result<Cache, Box<dyn Error>> {
        let file = CacheFile::open(path, &self.signature, OpenOptions::default())?;
        Ok(file.enter(Some(&self.config), None)?)
    }

    fn read(&self, cache: &Arc<Cache>, workers: usize) -> Result<(), Box<dyn Error>> {
        let info = LoaderInfo::new(cache.len(), CALL, LoaderMode::Training, workers)?;
        let (nominal, strict) = cache.nominal();
        let data = DataConfig::resolve(&nominal, &strict, &DataRequest::default(), true)?;
        for batch in Loader::new(cache.clone(), data, info, 1).epoch(0, 0, u64::MAX) {
            std::hint::black_box(batch?);
        }
        Ok(())
    }
}

/// One token per digit.
struct Digits(TokenizerConstants);

impl Digits {
    fn new() -> Self {
        Self(TokenizerConstants {
            context_length: 16,
            vocab_size: 256,
            start_id: Some(1),
            end_id: 2,
            pad_id: 0,
            dtype: TokenDtype::I64,
        })
    }
}

impl TextTokenizer for Digits {
    fn constants(&self) -> &TokenizerConstants {
        &self.0
    }

    fn encode(
        &self,
        texts: &[&str],
        _max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        let sequence = |text: &&str| {
            let digits = text.bytes().map(i64::from);
            [1].into_iter().chain(digits).chain([2]).collect()
        };
        Ok(texts.iter().map(sequence).collect())
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let digit = |&id: &i64| char::from(u8::try_from(id).unwrap_or(b'?'));
        Ok(ids.iter().map(digit).collect())
    }
}
