//! Speed of embedding caches. Writing and merging are shown as ratios to a
//! plain sequential copy of the same bytes, in the same folder and forced to the
//! disk likewise; cold reading, when nothing of the file is in memory, as ratios
//! to plain sequential reading. Every round measures all of it, each time after
//! everything earlier has reached the disk; medians over the rounds are shown:
//!
//! ```text
//! cargo bench --bench cache -- [SAMPLES] [DIM] [FOLDER] [ROUNDS]
//! ```
//!
//! With a file that is larger than the memory (or `systemd-run -p
//! MemoryMax=…`) all of it is read from the disk anyway.

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
    let rounds: usize = args.next().map_or(Ok(5), |arg| arg.parse())?;
    let folder = tempfile::TempDir::new_in(folder)?;
    let work = Work::new(samples, dim)?;

    let path = folder.path().join("cache.bin");
    let out = folder.path().join("out.bin");
    work.write(&path, RowOrder::AsWritten)?;
    let bytes = std::fs::metadata(&path)?.len();
    println!(
        "{samples} samples × {dim}, {:.2} GB, {rounds} rounds, load {}",
        bytes as f64 / 1e9,
        load()
    );
    let cache = Arc::new(work.open(&path)?);
    let virtual_merge = Arc::new(work.merged(&path)?);
    let mut table = Table::new(bytes);
    for _ in 0..rounds {
        let written = |work: &dyn Fn() -> Result<(), Box<dyn Error>>| {
            // Replacing a file would also measure the removal of the old one.
            rustix::fs::sync();
            let seconds = timed(work)?;
            std::fs::remove_file(&out)?;
            Ok::<f64, Box<dyn Error>>(seconds)
        };
        let plain = written(&|| copy(&path, &out))?;
        let shuffled = || RowOrder::Shuffled { seed: 1 };
        table.add("plain copy", plain, plain);
        let seconds = written(&|| work.write(&out, RowOrder::AsWritten))?;
        table.add("write in order", seconds, plain);
        let seconds = written(&|| work.write(&out, shuffled()))?;
        table.add("write shuffled", seconds, plain);
        let seconds = written(&|| work.write_resumable(&out))?;
        table.add("write shuffled, 16 checkpoints", seconds, plain);
        let seconds = written(&|| work.merge(&path, &out))?;
        table.add("merge, shuffled", seconds, plain);
        let seconds = written(&|| work.convert(&path, &out))?;
        table.add("store in half precision", seconds, plain);
        drop_cached(&path)?;
        let plain = written(&|| copy(&path, &out))?;
        table.add("plain copy, cold", plain, plain);
        drop_cached(&path)?;
        let seconds = written(&|| work.merge(&path, &out))?;
        table.add("merge, shuffled, cold", seconds, plain);

        let plain = timed(|| read_through(&path))?;
        table.add("plain read", plain, plain);
        for workers in [0, 1, 2] {
            let seconds = timed(|| work.read(&cache, workers))?;
            let what = format!("batches of {CALL}, shuffled, {workers} threads");
            table.add(&what, seconds, plain);
        }
        for workers in [0, 2] {
            let seconds = timed(|| work.read(&virtual_merge, workers))?;
            let what = format!("virtual merge, {workers} threads");
            table.add(&what, seconds, plain);
        }
        drop_cached(&path)?;
        let plain = timed(|| read_through(&path))?;
        table.add("plain read, cold", plain, plain);
        for workers in [0, 1, 2] {
            drop_cached(&path)?;
            let seconds = timed(|| work.read(&cache, workers))?;
            let what = format!("batches, shuffled, cold, {workers} threads");
            table.add(&what, seconds, plain);
        }
        drop_cached(&path)?;
        let seconds = timed(|| work.read(&virtual_merge, 2))?;
        table.add("virtual merge, cold, 2 threads", seconds, plain);
    }
    table.print();
    if let Some(peak) = peak_memory() {
        println!("largest memory of all this: {:.0} MB", peak as f64 / 1e6);
    }
    println!("load {}", load());
    Ok(())
}

/// Seconds and ratios by what was measured, in order.
struct Table {
    bytes: u64,
    rows: Vec<(String, Vec<f64>, Vec<f64>)>,
}

impl Table {
    fn new(bytes: u64) -> Self {
        let rows = Vec::new();
        Self { bytes, rows }
    }

    fn add(&mut self, what: &str, seconds: f64, plain: f64) {
        let known = self.rows.iter().position(|(name, ..)| name == what);
        let at = known.unwrap_or_else(|| {
            self.rows.push((what.to_owned(), Vec::new(), Vec::new()));
            self.rows.len() - 1
        });
        self.rows[at].1.push(seconds);
        self.rows[at].2.push(plain / seconds);
    }

    fn print(mut self) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        for (what, seconds, ratios) in &mut self.rows {
            let seconds = median(seconds);
            println!(
                "{what:<40} {seconds:>7.2} s  {:>6.2} GB/s  {:>5.2} × plain",
                self.bytes as f64 / seconds / 1e9,
                median(ratios)
            );
        }
    }
}

/// How many programs wanted a processor, over one minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
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
