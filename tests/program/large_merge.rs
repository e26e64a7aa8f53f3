//! Merging more than fits the memory. On demand, because it writes 23 GB:
//!
//! ```text
//! cargo test --release --test program -- --ignored large_merge
//! ```

use std::path::Path;
use std::process::Command;

use novic::cache::{
    CacheFile, CacheWriter, EmbedderSignature, FileFlags, FilePlan, FloatDtype, NounTable,
    OpenOptions, RowOrder, SampleRows, TargetConfig, TargetOptions, TargetPlan,
};
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use serde_json::json;

use crate::folder::{Call, Folder};

const DIM: usize = 1152;
const SAMPLES: usize = 450_000;
const REPEAT: u64 = 10;
const NOUNS: usize = 1000;
const CALL: usize = 1000;

/// Largest address space of the program, in KiB.
const LIMIT: u64 = 1 << 20;

#[test]
#[ignore = "writes 23 GB"]
fn large_merge_takes_less_than_a_gigabyte_of_memory() {
    let folder = Folder::new();
    write(&folder.path("part.bin"));
    let merge = folder.command(&[
        "cache",
        "merge",
        &format!("part.bin:{REPEAT}"),
        "--out",
        "merged.bin",
    ]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -v {LIMIT}; exec \"$0\" \"$@\"")])
        .arg(merge.get_program())
        .args(merge.get_args())
        .current_dir(merge.get_current_dir().unwrap());
    Call::from(limited.output().unwrap()).expect(0);

    let file = CacheFile::open_any(folder.path("merged.bin"), OpenOptions::default()).unwrap();
    assert_eq!(file.samples(), SAMPLES as u64 * REPEAT);
    let cache = file.enter_as_is().unwrap();
    // The embedding of a noun is the axis with its number.
    let mut seen = vec![0_u64; NOUNS];
    for start in (0..cache.len()).step_by(50_000) {
        let samples = cache.samples(start, start + 200).unwrap();
        let embeds = samples.embeds.into_f32();
        for (row, id) in samples.target_ids.unwrap().into_iter().enumerate() {
            let noun = id as usize - 1;
            assert_eq!(embeds[row * DIM + noun], 1.0);
            seen[noun] += 1;
        }
    }
    let different = seen.iter().filter(|&&count| count > 0).count();
    assert!(
        different > NOUNS * 9 / 10,
        "{different} nouns in a random order"
    );
}

/// A cache of 2.1 GB.
fn write(path: &Path) {
    let signature = EmbedderSignature::new(
        DIM,
        FloatDtype::F32,
        TokenDtype::I64,
        &json!({"class": "Test"}),
    );
    let nouns = NounTable::new((0..NOUNS).map(|noun| noun.to_string())).unwrap();
    let config =
        TargetConfig::build(&Digits::new(), nouns.valid(), &TargetOptions::default()).unwrap();
    let targets = TargetPlan::new(&config, &Digits::new(), nouns, 1).unwrap();
    let plan = FilePlan::new(
        SAMPLES as u64,
        &signature,
        Some(&targets),
        FileFlags::default(),
        RowOrder::AsWritten,
    )
    .unwrap();
    let mut writer = CacheWriter::create(path, &plan).unwrap();
    for start in (0..SAMPLES).step_by(CALL) {
        let noun = |row: usize| (start + row) % NOUNS;
        let mut embeds = vec![0.0_f32; CALL * DIM];
        (0..CALL).for_each(|row| embeds[row * DIM + noun(row)] = 1.0);
        let ids: Vec<u32> = (0..CALL).map(|row| noun(row) as u32 + 1).collect();
        let rows = SampleRows {
            embeds: embeds[..].into(),
            target_ids: Some(&ids),
            weights: None,
        };
        writer.write(&rows).unwrap();
    }
    writer.finish().unwrap();
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
