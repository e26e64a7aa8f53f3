//! `novic nouns`: look into noun dictionaries, and make the embedded one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::print::print;
use super::{CliError, Exit};
use crate::cache::{
    CacheError, FileFlags, FilePlan, NounTable, RowOrder, TargetConfig, TargetOptions, TargetPlan,
    TextFileShape,
};
use crate::nouns::build::{
    BuildError, Sources, build_article_list, build_class_lists, build_dictionary,
    write_class_lists, write_dictionary, write_text,
};
use crate::nouns::{
    CollectionNames, Dictionary, DictionarySummary, EMBEDDED, Hypernyms, Noun, NounDataset,
    NounsError, Spelling, TemplateFile, TextRules, canonical,
};

/// Look into noun dictionaries, and make the embedded one
#[derive(Debug, Args)]
pub struct NounsArgs {
    #[command(subcommand)]
    command: NounsCommand,
}

#[derive(Debug, Subcommand)]
enum NounsCommand {
    Inspect(InspectArgs),
    Lookup(LookupArgs),
    Build(BuildArgs),
    ClassNames(ClassNamesArgs),
    Articles(ArticlesArgs),
}

/// Show the size of a dictionary, per threshold, and what is unusual in it
///
///   novic nouns inspect
///   novic nouns inspect data/object_nouns.json --vocab-thres 2
///   novic nouns inspect --embedder openclip:timm/ViT-B-16-SigLIP
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct InspectArgs {
    /// Dictionary file, or `embedded`
    #[arg(default_value = EMBEDDED)]
    dictionary: PathBuf,
    #[command(flatten)]
    texts: TextArgs,
    /// Also show how long nouns are in tokens, and how large caches would be
    #[arg(long, value_name = "SPEC")]
    embedder: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show nouns with their spellings and prompt texts
///
/// A noun is found by its id or by the canonical form of any spelling.
///
///   novic nouns lookup axes "St. Bernard"
///   novic nouns lookup --dictionary data/object_nouns.json --texts 3 apple
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct LookupArgs {
    /// Spellings or ids
    #[arg(required = true, value_name = "NOUN|ID")]
    nouns: Vec<String>,
    /// Dictionary file, or `embedded`
    #[arg(long, default_value = EMBEDDED)]
    dictionary: PathBuf,
    /// How many prompt texts to show per noun
    #[arg(long, default_value_t = 0, value_name = "N")]
    texts: usize,
    #[command(flatten)]
    prompts: TextArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which texts are made of the nouns.
#[derive(Debug, Args)]
struct TextArgs {
    /// Keep the nouns whose frequency is above this
    #[arg(long, default_value_t = 0, value_name = "T")]
    vocab_thres: i64,
    /// Prompt collections
    #[arg(
        long,
        default_value = "ImageNet1K | CIFAR",
        value_name = "NAME[|NAME…]"
    )]
    prompts: String,
}

/// Make the embedded dictionary from the pinned packages
///
/// `extras/dictionary/README.md` has the command that fetches them. The same
/// packages and lists always give the same bytes.
#[derive(Debug, Args)]
struct BuildArgs {
    /// Directory with the fetched packages
    #[arg(long, value_name = "DIR")]
    sources: PathBuf,
    /// File to write: compressed if it ends in .zst, with its hash beside it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print how many nouns come from where
    #[arg(long)]
    report: bool,
}

/// Make the class name lists `wordnet` from the pinned packages
///
/// Every class keeps its names and gets those that people would accept, too:
/// synonyms, and common kinds of it.
#[derive(Debug, Args)]
struct ClassNamesArgs {
    /// Directory with the fetched packages
    #[arg(long, value_name = "DIR")]
    sources: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Make the list behind `nouns.article = "exact"` from the pinned packages
///
/// Words whose first sound asks for another article than their spelling.
#[derive(Debug, Args)]
struct ArticlesArgs {
    /// Directory with the fetched packages
    #[arg(long, value_name = "DIR")]
    sources: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs `novic nouns`.
pub fn cmd_nouns(args: &NounsArgs) -> Result<Exit, CliError> {
    match &args.command {
        NounsCommand::Inspect(args) => inspect(args),
        NounsCommand::Lookup(args) => lookup(args),
        NounsCommand::Build(args) => build(args),
        NounsCommand::ClassNames(args) => make_class_names(args),
        NounsCommand::Articles(args) => make_article_list(args),
    }
}

fn inspect(args: &InspectArgs) -> Result<Exit, CliError> {
    let dictionary = Arc::new(Dictionary::load(&args.dictionary).map_err(failed)?);
    let summary = DictionarySummary::new(&dictionary);
    let dataset = args.texts.dataset(dictionary.clone())?;
    let sizes = match &args.embedder {
        None => None,
        Some(spec) => Some(CacheSizes::new(&dataset, spec)?),
    };
    if args.json {
        let mut object = inspect_json(&dictionary, &summary, &dataset);
        if let Some(sizes) = &sizes {
            object["caches"] = sizes.to_json();
        }
        return print(&format!("{object:#}\n"));
    }
    let mut text = format!("{}\n", dictionary.source());
    for (name, value) in [
        ("entries", summary.entries),
        ("singular spellings", summary.singulars),
        ("plural spellings", summary.plurals),
        ("plural only", summary.plural_only),
        ("singular only", summary.singular_only),
        ("shared spellings", summary.shared_spellings),
        ("most hypernyms", summary.most_hypernyms),
    ] {
        line(&mut text, name, value as u64);
    }
    text.push_str("\nnouns above a threshold\n");
    for (threshold, nouns) in &summary.sizes {
        line(&mut text, &format!("FT{threshold}"), *nouns as u64);
    }
    text.push_str("\nnouns of a frequency\n");
    for (frequency, nouns) in &summary.frequencies {
        line(&mut text, &frequency.to_string(), *nouns as u64);
    }
    let _ = writeln!(
        text,
        "\ntexts of {} at FT{}",
        args.texts.prompts, args.texts.vocab_thres
    );
    line(&mut text, "nouns", dataset.targets().len() as u64);
    line(&mut text, "unique samples", dataset.num_unique_samples());
    line(&mut text, "samples", dataset.num_samples());
    if let Some(sizes) = &sizes {
        let _ = writeln!(text, "\ncaches of {}", sizes.embedder);
        line(&mut text, "longest noun, tokens", sizes.longest as u64);
        for (kind, samples, bytes) in &sizes.caches {
            let _ = writeln!(text, "  {kind:<20} {samples:>12} samples {bytes:>15} bytes");
        }
    }
    if !dictionary.warnings().is_empty() {
        let _ = writeln!(text, "\n{} warnings", dictionary.warnings().len());
    }
    for warning in dictionary.warnings().iter().take(20) {
        let _ = writeln!(text, "  {warning}");
    }
    print(&text)
}

/// What stages would write for an embedder.
struct CacheSizes {
    embedder: String,
    /// Tokens of the longest noun, end token included.
    longest: usize,
    /// Kind, samples and bytes of every cache.
    caches: Vec<(&'static str, u64, u64)>,
}

impl CacheSizes {
    fn new(dataset: &NounDataset, spec: &str) -> Result<Self, CliError> {
        let failed = |error: CacheError| CliError::from_error(Exit::Failed, &error);
        let (embedder, signature) = super::cache::embedder(spec)?;
        let tokenizer = embedder.tokenizer();
        let nouns = NounTable::new(dataset.targets()).map_err(failed)?;
        let options = TargetOptions::default();
        let config =
            TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options).map_err(failed)?;
        let cache = |samples: u64, targets: usize| -> Result<u64, CacheError> {
            let nouns = nouns.clone();
            let targets = TargetPlan::new(&config, tokenizer.as_ref(), nouns, targets)?;
            let (flags, order) = (FileFlags::default(), RowOrder::AsWritten);
            let plan = FilePlan::new(samples, &signature, Some(&targets), flags, order)?;
            Ok(plan.header().layout().total_size())
        };
        let (samples, texts) = (dataset.num_samples(), dataset.num_unique_samples());
        let text_file = TextFileShape::new(embedder.dim(), &config, texts);
        Ok(Self {
            embedder: spec.to_owned(),
            longest: config.token_length,
            caches: vec![
                ("cache_noun_dataset", texts, text_file.size()),
                (
                    "convert_noun_dataset",
                    samples,
                    cache(samples, 1).map_err(failed)?,
                ),
                (
                    "cache_noun_multiset",
                    2 * samples,
                    cache(2 * samples, 2).map_err(failed)?,
                ),
            ],
        })
    }

    fn to_json(&self) -> Value {
        let caches = self.caches.iter();
        let caches = caches.map(|(kind, samples, bytes)| {
            (
                (*kind).to_owned(),
                json!({"samples": samples, "bytes": bytes}),
            )
        });
        json!({
            "embedder": self.embedder,
            "longest_noun": self.longest,
            "sizes": Value::Object(caches.collect()),
        })
    }
}

fn line(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "  {name:<20} {value:>12}");
}

fn inspect_json(
    dictionary: &Dictionary,
    summary: &DictionarySummary,
    dataset: &NounDataset,
) -> Value {
    let warnings = dictionary.warnings().iter();
    json!({
        "dictionary": dictionary.source(),
        "entries": summary.entries,
        "singulars": summary.singulars,
        "plurals": summary.plurals,
        "plural_only": summary.plural_only,
        "singular_only": summary.singular_only,
        "shared_spellings": summary.shared_spellings,
        "most_hypernyms": summary.most_hypernyms,
        "sizes": summary.sizes,
        "frequencies": summary.frequencies.iter().collect::<Vec<_>>(),
        "texts": {
            "nouns": dataset.targets().len(),
            "unique_samples": dataset.num_unique_samples(),
            "samples": dataset.num_samples(),
        },
        "warnings": warnings.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn lookup(args: &LookupArgs) -> Result<Exit, CliError> {
    let dictionary = Arc::new(Dictionary::load(&args.dictionary).map_err(failed)?);
    let mut found = Vec::new();
    for name in &args.nouns {
        let nouns = find(&dictionary, name);
        if nouns.is_empty() {
            return Err(CliError::failed(format!(
                "{} has no noun {name:?} (canonical form {:?})",
                dictionary.source(),
                canonical(name)
            )));
        }
        found.extend(nouns);
    }
    let dataset = match args.texts {
        0 => None,
        _ => Some(args.prompts.dataset(dictionary.clone())?),
    };
    let texts = |noun: &Noun| {
        dataset
            .iter()
            .flat_map(|dataset| texts_of(dataset, noun, args.texts))
            .collect::<Vec<_>>()
    };
    if args.json {
        let nouns = found.iter().map(|noun| noun_json(noun, &texts(noun)));
        return print(&format!("{:#}\n", Value::from_iter(nouns)));
    }
    let mut text = String::new();
    for noun in found {
        let _ = writeln!(
            text,
            "{} (id {}, frequency {})",
            noun.target,
            noun.id,
            noun.frequency()
        );
        for (name, spellings) in [("singular", &noun.singulars), ("plural", &noun.plurals)] {
            let spellings = spellings.iter();
            let spellings: Vec<_> = spellings
                .map(|s| format!("{} × {}", s.frequency, s.text))
                .collect();
            if !spellings.is_empty() {
                let _ = writeln!(text, "  {name:<9} {}", spellings.join(", "));
            }
        }
        for sample in texts(noun) {
            let _ = writeln!(text, "  {sample}");
        }
    }
    print(&text)
}

fn find<'a>(dictionary: &'a Dictionary, name: &str) -> Vec<&'a Noun> {
    let by_id = name.parse().ok().and_then(|id| dictionary.noun_by_id(id));
    let form = canonical(name);
    let by_spelling = dictionary.nouns().iter();
    let by_spelling = by_spelling.filter(|noun| noun.is_spelled(name) || noun.is_spelled(&form));
    match by_id {
        Some(noun) => vec![noun],
        None => by_spelling.collect(),
    }
}

/// The first texts of a noun as `FSID:USID: count × text`.
fn texts_of(dataset: &NounDataset, noun: &Noun, number: usize) -> Vec<String> {
    let mut targets = dataset.targets();
    let Some(target) = targets.position(|target| target == noun.target) else {
        return Vec::new();
    };
    let mut samples = dataset.unique_samples_from(dataset.usid_starts()[2 * target]);
    let mut texts = Vec::new();
    while let Some(sample) = samples.next_sample() {
        if texts.len() == number || sample.target != target {
            break;
        }
        texts.push(format!(
            "{}:{}: {} × {}",
            sample.fsid, sample.usid, sample.count, sample.text
        ));
    }
    texts
}

fn noun_json(noun: &Noun, texts: &[String]) -> Value {
    let spellings = |spellings: &[Spelling]| {
        let spellings = spellings.iter();
        Value::from_iter(spellings.map(|s| json!([s.frequency, s.text])))
    };
    json!({
        "id": noun.id,
        "target_noun": noun.target,
        "pretty_noun": noun.pretty,
        "frequency": noun.frequency(),
        "singulars": spellings(&noun.singulars),
        "plurals": spellings(&noun.plurals),
        "hypernyms": noun.hypernyms,
        "texts": texts,
    })
}

fn build(args: &BuildArgs) -> Result<Exit, CliError> {
    let failed = |error: BuildError| CliError::from_error(Exit::Failed, &error);
    let sources = Sources::load(&args.sources).map_err(failed)?;
    let built = build_dictionary(&sources).map_err(failed)?;
    write_dictionary(&built.nouns, &args.out).map_err(failed)?;
    if args.report {
        print(&format!("{}\n", built.report))
    } else {
        print(&format!(
            "{} nouns written to {}\n",
            built.nouns.len(),
            args.out.display()
        ))
    }
}

fn make_class_names(args: &ClassNamesArgs) -> Result<Exit, CliError> {
    let failed = |error: BuildError| CliError::from_error(Exit::Failed, &error);
    let lists = build_class_lists(&args.sources).map_err(failed)?;
    write_class_lists(&lists, &args.out).map_err(failed)?;
    print(&format!(
        "{} lists written to {}\n",
        lists.len(),
        args.out.display()
    ))
}

impl TextArgs {
    fn dataset(&self, dictionary: Arc<Dictionary>) -> Result<NounDataset, CliError> {
        let templates = TemplateFile::shipped().map_err(failed)?;
        let prompts = templates
            .prompts(&CollectionNames::parse(&self.prompts), TextRules::default())
            .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        let vocabulary = dictionary.vocabulary(self.vocab_thres).map_err(failed)?;
        NounDataset::new(vocabulary, prompts, Hypernyms::none()).map_err(failed)
    }
}

fn failed(error: NounsError) -> CliError {
    CliError::from_error(Exit::Failed, &error)
}

fn make_article_list(args: &ArticlesArgs) -> Result<Exit, CliError> {
    let failed = |error: BuildError| CliError::from_error(Exit::Failed, &error);
    let list = build_article_list(&args.sources).map_err(failed)?;
    write_text(&list, &args.out).map_err(failed)?;
    print(&format!(
        "{} words written to {}\n",
        list.lines().count(),
        args.out.display()
    ))
}
