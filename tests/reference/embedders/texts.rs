//! Cleaning and tokenizers on many texts.

use novic::embedders::tokenizer::TextTokenizer;
use novic::embedders::{
    Cleaning, HfTokenizer, ModelFiles, OpenAiTokenizer, TokenizerSettings, clean,
};

use super::{AREA, ids, list, path, text};
use crate::golden;

fn settings(cleaning: Cleaning) -> TokenizerSettings {
    TokenizerSettings {
        context_length: 77,
        cleaning,
        strip_separator: false,
    }
}

fn tokenizer(folder: &str, settings: TokenizerSettings) -> HfTokenizer {
    HfTokenizer::open(&ModelFiles::Folder(path(folder)), settings)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
}

fn encode(tokenizer: &dyn TextTokenizer, text: &str, max: usize) -> Vec<i64> {
    tokenizer.encode(&[text], Some(max)).unwrap().remove(0)
}

/// Texts that differ, all at once.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        text: &str,
        found: T,
        wanted: T,
    ) {
        if found != wanted {
            self.0.push(format!(
                "{what} of {text:?}: {found:?} instead of {wanted:?}"
            ));
        }
    }
}

impl Drop for Differences {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{}", self.0.join("\n"));
        }
    }
}

#[test]
fn clip_texts() {
    let cases = golden::json(AREA, "text_clip_bpe.json");
    let openai = OpenAiTokenizer::open(None, 77).unwrap();
    let hf = HfTokenizer::clip(settings(Cleaning::Nothing)).unwrap();
    assert!(!list(&cases).is_empty());
    let mut differences = Differences::default();
    for case in list(&cases) {
        let input = text(&case["text"]);
        for (name, cleaning) in [
            ("whitespace", Cleaning::Whitespace),
            ("lower", Cleaning::Lower),
            ("canonicalize", Cleaning::Canonicalize),
        ] {
            let found = clean(input, cleaning).into_owned();
            differences.check(name, input, found.as_str(), text(&case["clean"][name]));
        }
        let whole = |tokenizer: &dyn TextTokenizer, key: &str, max: usize| {
            (encode(tokenizer, input, max), ids(&case[key]))
        };
        for (tokenizer, key, max) in [
            (&openai as &dyn TextTokenizer, "openai_ids", 77),
            (&openai, "openai_max8", 8),
            (&hf, "hf_ids", 77),
            (&hf, "hf_max8", 8),
        ] {
            let (found, wanted) = whole(tokenizer, key, max);
            differences.check(key, input, found, wanted);
        }
        let cleaned = clean(input, Cleaning::Whitespace);
        differences.check(
            "hf_clean_ids",
            input,
            encode(&hf, &cleaned, 77),
            ids(&case["hf_clean_ids"]),
        );
        for (tokenizer, key, of) in [
            (&openai as &dyn TextTokenizer, "openai_text", "openai_ids"),
            (&hf, "hf_text", "hf_ids"),
        ] {
            let found = tokenizer.decode(&ids(&case[of])).unwrap();
            differences.check(key, input, found.as_str(), text(&case[key]));
        }
    }
}

#[test]
fn clip_ids_to_texts() {
    let cases = golden::json(AREA, "decode_clip_bpe.json");
    let openai = OpenAiTokenizer::open(None, 77).unwrap();
    let hf = HfTokenizer::clip(settings(Cleaning::Nothing)).unwrap();
    assert!(!list(&cases).is_empty());
    for case in list(&cases) {
        let tokens = ids(&case["ids"]);
        assert_eq!(
            openai.decode(&tokens).unwrap(),
            text(&case["openai"]),
            "{tokens:?}"
        );
        assert_eq!(hf.decode(&tokens).unwrap(), text(&case["hf"]), "{tokens:?}");
    }
}

#[test]
fn siglip_texts() {
    let cases = golden::json(AREA, "text_t5.json");
    let folder = "tokenizers/t5_nfkc";
    let canonical = tokenizer(folder, settings(Cleaning::Canonicalize));
    let raw = tokenizer(folder, settings(Cleaning::Nothing));
    let slow = tokenizer(folder, settings(Cleaning::WithoutPunctuation));
    assert!(!list(&cases).is_empty());
    let mut differences = Differences::default();
    for case in list(&cases) {
        let input = text(&case["text"]);
        for (tokenizer, key, max) in [
            (&canonical, "ids", 64),
            (&canonical, "max6", 6),
            (&raw, "raw_ids", 64),
            (&slow, "siglip_slow_ids", 64),
        ] {
            differences.check(key, input, encode(tokenizer, input, max), ids(&case[key]));
        }
        let decoded = canonical.decode(&ids(&case["ids"])).unwrap();
        differences.check("decoded", input, decoded.as_str(), text(&case["decoded"]));
    }
}

#[test]
fn bert_texts() {
    let cases = golden::json(AREA, "text_bert.json");
    let tokenizer = tokenizer(
        "tokenizers/bert",
        TokenizerSettings {
            context_length: 32,
            cleaning: Cleaning::Nothing,
            strip_separator: true,
        },
    );
    assert!(!list(&cases).is_empty());
    let mut differences = Differences::default();
    for case in list(&cases) {
        let input = text(&case["text"]);
        let found = encode(&tokenizer, input, 32);
        differences.check("length", input, found.len(), list(&case["attention"]).len());
        differences.check("ids", input, found, ids(&case["ids"]));
        differences.check(
            "max6",
            input,
            encode(&tokenizer, input, 6),
            ids(&case["max6"]),
        );
        let decoded = tokenizer.decode(&ids(&case["ids"])).unwrap();
        differences.check("decoded", input, decoded.as_str(), text(&case["decoded"]));
    }
}

#[test]
fn constants_of_the_real_vocabulary() {
    let wanted = golden::json(AREA, "tokenizer_constants.json");
    let openai = OpenAiTokenizer::open(None, 77).unwrap();
    let hf = HfTokenizer::clip(settings(Cleaning::Nothing)).unwrap();
    for (tokenizer, key) in [
        (&openai as &dyn TextTokenizer, "openai"),
        (&hf, "openclip_clip_bpe"),
    ] {
        let (found, wanted) = (tokenizer.constants(), &wanted[key]);
        assert_eq!(wanted["context_length"], found.context_length, "{key}");
        assert_eq!(wanted["vocab_size"], found.vocab_size, "{key}");
        assert_eq!(wanted["start_token_id"].as_i64(), found.start_id, "{key}");
        assert_eq!(wanted["end_token_id"], found.end_id, "{key}");
        assert_eq!(wanted["pad_token_id"], found.pad_id, "{key}");
        // Whether "CPU" and "cpu" are told apart.
        let cased = encode(tokenizer, "CPU", 77) != encode(tokenizer, "cpu", 77);
        assert_eq!(wanted["cased_tokens"], cased, "{key}");
    }
    let object = &wanted["openai_configuration"];
    let archive = novic::net::OPENAI_MODELS
        .iter()
        .find(|archive| archive.name == text(&object["model_name"]))
        .expect("a published archive");
    assert_eq!(object["model_checkpoint"], archive.address());
}
