//! Override strings compared with what Hydra's own parser makes of them
//! (`hydra_corpus.json`, made with `hydra-core` 1.3.2).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::config::hydra::{self, Untyped};
use crate::config::overrides::{Operation, parse};

/// Strings that are read otherwise on purpose; `docs/overrides.md` says why.
const DIFFERENCES: &[&str] = &[
    // Characters that need no quotes here.
    "a=~",
    "a=~/x",
    "a=~x",
    "a=a=b",
    "a=a&b",
    "a=a#b",
    "a=a!b",
    "a=a;b",
    "a=a<b",
    "a=a^b",
    "a=ü",
    "a=日本",
    "a=[a=b]",
    "a=[a(b)]",
    "a=choice(a",
    "a=foo(1)",
    "a=x(1)",
    "a==1",
    "a=b=c",
    // Blanks around keys and behind brackets.
    "a =1",
    " a=1",
    "a=[1] ",
    // Tables as in TOML, each key once.
    "a={'a':1}",
    "a={a=1}",
    "a={a:1,a:2}",
    // Types come from the schema.
    "a=int(3.2)",
    "a=str(3)",
    "a=float(3)",
    "a=bool(1)",
    // Keys.
    "~a=1",
    "=1",
    "+=1",
    "~",
    "a@b=1",
    "a$=1",
    "1a=1",
];

/// What we make of an override, in the form of the corpus.
fn ours(text: &str) -> Value {
    let Ok(parsed) = parse(text) else {
        return json!({"error": true});
    };
    let names: Vec<_> = parsed.key.iter().map(|part| part.name.as_str()).collect();
    let operation = match parsed.operation {
        Operation::Set => "set",
        Operation::Add => "add",
        Operation::Force => "force",
        Operation::Remove => "remove",
    };
    // `+` adds what is not there, the others need that it is.
    let Ok(changes) = hydra::changes(&[text], |_| parsed.operation != Operation::Add) else {
        return json!({"error": true});
    };
    let mut result = json!({"operation": operation, "key": names.join(".")});
    if let [(_, value)] = changes.set.as_slice() {
        result["value"] = typed(value);
    }
    result
}

fn typed(value: &Untyped) -> Value {
    let inner = match value {
        Untyped::List(items) => items.iter().map(typed).collect(),
        Untyped::Dict(entries) => {
            let entries = entries.iter();
            entries
                .map(|(key, value)| json!([key, typed(value)]))
                .collect()
        }
        value => value.to_json(),
    };
    json!({"type": value.type_name(), "value": inner})
}

/// What Hydra makes of it, without what we do not compare.
fn theirs(case: &Value) -> Value {
    // A sweep is an error where one value is expected.
    if case["error"].is_string() || case["sweep"] == true {
        return json!({"error": true});
    }
    let mut result = json!({"operation": case["operation"], "key": case["key"]});
    if !case["value"].is_null() {
        result["value"] = case["value"].clone();
    }
    result
}

#[test]
fn overrides_are_read_as_hydra_reads_them_except_where_documented() {
    let corpus: Value = serde_json::from_str(include_str!("hydra_corpus.json")).expect("JSON");
    let documented: BTreeSet<&str> = DIFFERENCES.iter().copied().collect();
    let mut found = BTreeSet::new();
    let mut undocumented = Vec::new();
    for case in corpus.as_array().expect("a list") {
        let text = case["text"].as_str().expect("a text");
        let (ours, theirs) = (ours(text), theirs(case));
        if ours != theirs {
            found.insert(text);
            if !documented.contains(text) {
                undocumented.push(format!("{text}: {ours}, Hydra: {theirs}"));
            }
        }
    }
    assert!(undocumented.is_empty(), "{}", undocumented.join("\n"));
    assert_eq!(
        found, documented,
        "a documented difference is none any more"
    );
}
