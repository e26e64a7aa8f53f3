//! The JSON Schema that is shipped, and the files that name it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::schema::{self, json_schema};
use crate::runner::sweep::sweep_schema;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Folders of files, their schemas, where those are shipped, and how they are made.
fn shipped() -> [(&'static str, Value, &'static str, &'static str); 2] {
    [
        (
            "experiments",
            json_schema(),
            "schema/experiment.json",
            "novic schema",
        ),
        (
            "sweeps",
            sweep_schema(),
            "schema/sweep.json",
            "novic schema --sweep",
        ),
    ]
}

#[test]
fn the_shipped_schemas_are_the_present_ones() {
    for (_, schema, file, command) in shipped() {
        let shipped = fs::read_to_string(root().join(file)).expect("a file");
        let present = format!("{schema:#}\n");
        assert!(shipped == present, "run `{command} > {file}`");
    }
}

/// All TOML files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_shipped_file_names_the_schema_and_follows_it() {
    for (folder, schema, path, _) in shipped() {
        let files = files(&root().join(folder));
        assert!(!files.is_empty());
        for file in files {
            check(&file, &schema, path);
        }
    }
}

/// Whether a file names the schema at a path, and follows it.
fn check(file: &Path, schema: &Value, path: &str) {
    let text = fs::read_to_string(file).expect("a text");
    let named = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#:schema "));
    let named = named.unwrap_or_else(|| panic!("{} names no schema", file.display()));
    let target = file.parent().expect("a directory").join(named);
    let target = target.canonicalize().expect("a file");
    assert_eq!(target, root().join(path).canonicalize().expect("a file"));
    if let Err(error) = follows(&value(&text), schema, schema) {
        panic!("{}: {error}", file.display());
    }
}

#[test]
fn sweeps_vary_what_stages_read() {
    let schema = sweep_schema();
    let valid = [
        "[grid]\nrun.seed = [1, 2]\nnoise.vec_norm = \"range(1,4)\"\nstage.train.model.layers = [2]",
        "[[zip]]\nnoise.angle_min = [1, 2]\nnoise.angle_max = [3, 4]\n[launcher]\nkind = \"slurm\"",
        "[[union]]\nname = \"a\"\n[[union.point]]\nlabel = \"x\"\ndeterm_seed = 2",
        "[search]\ntrials = 4\n[search.space]\nnoise.vec_norm = \"interval(1,2)\"",
    ];
    let wrong = [
        "[grid]\nrun.sed = [1]",
        "[grid]\nnoise.vec_norm = [-1]",
        "[set]\nrun.seed = [1, 2]",
        "[[point]]\nlabel = 1",
        "[search]\ntrials = 0",
        "[launcher]\nkind = \"pbs\"",
    ];
    let of = |text: &str| value(&format!("sweep.base = \"x.toml\"\n{text}"));
    for text in valid {
        follows(&of(text), &schema, &schema).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    for text in wrong {
        assert!(follows(&of(text), &schema, &schema).is_err(), "{text}");
    }
    assert!(follows(&value("[set]"), &schema, &schema).is_err());
}

#[test]
fn defaults_follow_the_schema_and_mistakes_do_not() {
    let schema = json_schema();
    for key in schema::keys() {
        let default = (key.default)();
        if !default.is_null() {
            let definition = &schema["definitions"][key.path];
            follows(&default, definition, &schema)
                .unwrap_or_else(|error| panic!("{}: {error}", key.path));
        }
    }
    let valid = [
        "[train]\noptimizer.type = \"adamw\"\nlr.init = \"${train.lr.final}\"",
        "lr_warmup = 2\nimages = [\"a\"]\nmodel = \"DudDecoder\"",
        "[target]\nweights = \"auto\"\n[stage.a]\nkind = \"train\"\nmodel.layers = 2\ninputs = [{ stage = \"b\", repeat = 2 }]",
        "[table.t]\nanything = 1",
    ];
    for text in valid {
        follows(&value(text), &schema, &schema).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let wrong = [
        "[train]\nmax_epochs = 1.5",
        "[train]\nlr.innit = 1",
        "[train]\noptimizer.type = \"sgd\"",
        "[noise]\nmix_ratio = 1.5",
        "[train]\nchunk_scale = 0",
        "[stage.a]\nkind = \"trian\"",
        "[stage.a]\ninputs = [{ repeat = 2 }]",
        "[unknown]\na = 1",
    ];
    for text in wrong {
        assert!(follows(&value(text), &schema, &schema).is_err(), "{text}");
    }
}

fn value(text: &str) -> Value {
    toml_edit::de::from_str(text).expect("TOML")
}

/// Whether a value follows a schema, of the words that ours uses.
fn follows(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let path = name.strip_prefix("#/definitions/").expect("a definition");
        return follows(value, &root["definitions"][path], root);
    }
    let fail = |what: &str| Err(format!("{value} is no {what}"));
    if let Some(kind) = schema["type"].as_str() {
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            other => panic!("unknown type {other}"),
        };
        if !fits {
            return fail(kind);
        }
    }
    if let Some(names) = schema["enum"].as_array()
        && !names.contains(value)
    {
        return fail(&schema["enum"].to_string());
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !regex::Regex::new(pattern)
            .expect("a pattern")
            .is_match(text)
    {
        return fail(pattern);
    }
    if let Some(number) = value.as_f64() {
        let low = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let high = schema["maximum"].as_f64().unwrap_or(f64::INFINITY);
        let at_low = schema["exclusiveMinimum"] == true && number == low;
        let at_high = schema["exclusiveMaximum"] == true && number == high;
        if number < low || number > high || at_low || at_high {
            return fail("number in range");
        }
    }
    if let Some(choices) = schema["anyOf"].as_array()
        && choices
            .iter()
            .all(|choice| follows(value, choice, root).is_err())
    {
        return fail(&schema["anyOf"].to_string());
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        follows(value, part, root)?;
    }
    for item in value.as_array().into_iter().flatten() {
        if schema["items"].is_object() {
            follows(item, &schema["items"], root)?;
        }
    }
    let Some(fields) = value.as_object() else {
        return Ok(());
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().expect("a name")) {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, field) in fields {
        let known = &schema["properties"][name.as_str()];
        let other = &schema["additionalProperties"];
        if known.is_object() {
            follows(field, known, root).map_err(|error| format!("{name}: {error}"))?;
        } else if other.is_object() {
            follows(field, other, root).map_err(|error| format!("{name}: {error}"))?;
        } else if *other == false {
            return Err(format!("{name} is unknown"));
        }
    }
    Ok(())
}
