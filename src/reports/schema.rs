//! JSON Schema of report files, for editors: the keys of tables and plots.
//!
//! Draft 4, as the one of experiment files. A test reads every key that it has.

use serde_json::{Map, Value, json};

/// JSON Schema of report files.
pub fn report_schema() -> Value {
    let mut properties = table_properties();
    let table = object(
        "A table; keys outside of it are defaults for all.",
        table_properties(),
    );
    properties.insert("table".into(), json!({"type": "array", "items": table}));
    let mut report = Map::new();
    report.insert("name".into(), text("Name of the files that are written."));
    report.insert("title".into(), text("Heading."));
    report.insert("text".into(), text("Markdown before the tables."));
    properties.insert("report".into(), object("The report as a whole.", report));
    properties.insert(
        "plot".into(),
        json!({"type": "object", "additionalProperties": plot_schema()}),
    );
    let mut schema = object("A report file of novic.", properties);
    schema["$schema"] = "http://json-schema.org/draft-04/schema#".into();
    schema["title"] = "NOVIC report".into();
    schema
}

/// JSON Schema of a plot.
fn plot_schema() -> Value {
    let mut keys = Map::new();
    let kinds = [
        "curve",
        "bar",
        "scatter",
        "heat",
        "histogram",
        "rank",
        "confusion",
        "gallery",
    ];
    keys.insert("kind".into(), choice("What it looks like.", &kinds));
    for (name, doc) in [
        ("title", "Printed above."),
        ("caption", "Printed below on pages."),
        ("x", "Field of the x axis."),
        ("y", "Field of the y axis."),
        ("value", "Field of the shade of a heat map."),
        ("label", "Name of a series, with {FIELD}."),
        ("weight", "Field that says how often a number occurs."),
        ("images", "Folder of the pictures of a gallery."),
        ("x_label", "Label of the x axis."),
        ("y_label", "Label of the y axis."),
    ] {
        keys.insert(name.into(), text(doc));
    }
    for (name, doc) in [
        ("by", "Fields that tell series apart."),
        ("replicates", "Fields that tell seeds apart."),
        (
            "join",
            "Fields that are equal in records that belong together.",
        ),
    ] {
        keys.insert(name.into(), texts(doc));
    }
    for name in ["where", "x_where", "y_where"] {
        keys.insert(name.into(), condition());
    }
    keys.insert(
        "band".into(),
        choice(
            "What bands and intervals show.",
            &["std", "ci", "range", "none"],
        ),
    );
    for (name, doc) in [
        ("x_log", "Logarithmic x axis."),
        ("y_log", "Logarithmic y axis."),
        ("density", "Densities instead of counts."),
        ("fit", "Draw the least-squares line."),
        ("fill", "Fill the area below lines."),
    ] {
        keys.insert(name.into(), flag(doc));
    }
    for (name, doc) in [
        ("x_limits", "Ends of the x axis."),
        ("y_limits", "Ends of the y axis."),
        ("upright", "Dashed upright lines."),
    ] {
        let list = json!({"description": doc, "type": "array", "items": {"type": "number"}});
        keys.insert(name.into(), list);
    }
    for (name, doc) in [
        ("bins", "Bins of a histogram."),
        ("top", "Names at most."),
        ("width", "Width in 1/96 inch."),
        ("height", "Height in 1/96 inch."),
    ] {
        keys.insert(name.into(), whole(doc));
    }
    keys.insert("scale".into(), number("Factor of y."));
    keys.insert("source".into(), sources());
    keys.insert("params".into(), json!({"type": "object"}));
    object("A plot (docs/plots.md).", keys)
}

fn table_properties() -> Map<String, Value> {
    let mut keys = Map::new();
    for (name, doc) in [
        ("name", "Name of the table, where there are several."),
        ("title", "Printed above; may hold {PARAMETER}."),
        ("caption", "Printed below."),
        ("missing", "Text of a cell without values."),
        (
            "compare_to",
            "Label of the row that others are compared with.",
        ),
        (
            "include",
            "Another report; keys given here replace its keys.",
        ),
    ] {
        keys.insert(name.into(), text(doc));
    }
    keys.insert("where".into(), condition());
    keys.insert("split".into(), texts("Fields: one table per combination."));
    keys.insert("sort".into(), texts("Columns, with - or + before them."));
    keys.insert("replicates".into(), replicates());
    keys.insert(
        "partial".into(),
        choice(
            "Cells with too few replicates.",
            &["mark", "missing", "error"],
        ),
    );
    let mut mark = Map::new();
    mark.insert("best".into(), flag("Mark the best."));
    mark.insert("second".into(), flag("Mark the second best."));
    mark.insert(
        "scope".into(),
        choice("Which cells are compared.", &["table", "group"]),
    );
    mark.insert("axis".into(), choice("Along what.", &["column", "row"]));
    mark.insert("min_cells".into(), whole("Fewer cells get no mark."));
    keys.insert("mark".into(), object("Marks of the best cells.", mark));
    let anything = |doc: &str| json!({"description": doc, "type": "object"});
    keys.insert(
        "params".into(),
        anything("Parameters with defaults, used as $NAME."),
    );
    keys.insert(
        "conditions".into(),
        anything("Named conditions, for rows.base."),
    );
    keys.insert("source".into(), sources());
    keys.insert("predictions".into(), predictions());
    keys.insert("rows".into(), rows());
    let mut cols = Map::new();
    cols.insert("by".into(), texts("Fields that tell columns apart."));
    cols.insert("label".into(), text("Header, with {FIELD}."));
    cols.insert("order".into(), order());
    keys.insert("cols".into(), object("Automatic columns.", cols));
    keys.insert(
        "col".into(),
        json!({"type": "array", "items": column(false)}),
    );
    let mut line = Map::new();
    line.insert("label".into(), text("Label."));
    line.insert("agg".into(), aggregate());
    line.insert("position".into(), choice("Where.", &["first", "last"]));
    let mut margin = Map::new();
    margin.insert(
        "row".into(),
        object("A line that summarizes.", line.clone()),
    );
    margin.insert("column".into(), object("A column that summarizes.", line));
    margin.insert(
        "fields".into(),
        json!({"type": "array", "items": column(true)}),
    );
    keys.insert("margin".into(), object("Summaries.", margin));
    let mut published = Map::new();
    published.insert("table".into(), text("Published table, such as table6."));
    published.insert(
        "file".into(),
        text("JSON file; default: the paper's numbers."),
    );
    published.insert("rows".into(), anything("Names of our rows there."));
    published.insert("columns".into(), anything("Names of our columns there."));
    published.insert(
        "transposed".into(),
        flag("Whether our rows are its columns."),
    );
    keys.insert(
        "published".into(),
        object("Published numbers to show beside.", published),
    );
    keys
}

fn rows() -> Value {
    let mut row = Map::new();
    row.insert("label".into(), text("Label."));
    row.insert("indent".into(), whole("Steps of indentation."));
    row.insert("baseline".into(), flag("Others are compared with it."));
    row.insert("reference".into(), flag("Shown for reference only."));
    row.insert("where".into(), condition());
    let mut group = Map::new();
    group.insert("title".into(), text("Title."));
    group.insert("vary".into(), text("Field: one row per value."));
    group.insert("values".into(), json!({"type": "array"}));
    group.insert("label".into(), text("Label of these rows, with {value}."));
    group.insert(
        "rows".into(),
        json!({"type": "array", "items": object("A row.", row)}),
    );
    let mut rows = Map::new();
    rows.insert("header".into(), text("Header of the labels."));
    rows.insert("by".into(), texts("Fields: one row per combination."));
    rows.insert(
        "label".into(),
        text("Label of automatic rows, with {FIELD}."),
    );
    rows.insert("descending".into(), flag("Reverse the order."));
    rows.insert("order".into(), order());
    rows.insert("union".into(), texts("Sources whose keys are rows."));
    rows.insert("base".into(), text("Named condition on every row."));
    rows.insert(
        "group".into(),
        json!({"type": "array", "items": object("A group.", group)}),
    );
    object("The rows.", rows)
}

fn column(has_position: bool) -> Value {
    let mut keys = Map::new();
    for (name, doc) in [
        ("label", "Header."),
        ("source", "Name of a source, or any."),
        ("value", "Field to aggregate."),
        ("expr", "Arithmetic on fields of one record."),
        ("pick", "Column whose winning record is shown."),
        ("format", "Text with {value}, {mean}, {std}, {n} and so on."),
    ] {
        keys.insert(name.into(), text(doc));
    }
    keys.insert("where".into(), condition());
    for name in ["values", "variants", "join", "foreach", "footnote"] {
        keys.insert(name.into(), json!({"type": "object"}));
    }
    keys.insert("agg".into(), aggregate());
    keys.insert("direction".into(), choice("What is best.", &["max", "min"]));
    for (name, doc) in [
        ("decimals", "Decimals at which cells are compared."),
        ("width", "Characters that are shown."),
    ] {
        keys.insert(name.into(), whole(doc));
    }
    keys.insert("scale".into(), number("Factor before formatting."));
    for (name, doc) in [
        ("thousands", "Thin spaces between groups of three digits."),
        ("mark", "Whether cells are marked."),
        ("reference", "Italic, without marks."),
        ("hide_empty", "Leave out if all cells are missing."),
    ] {
        keys.insert(name.into(), flag(doc));
    }
    keys.insert(
        "color".into(),
        json!({"description": "A field, or bands of numbers."}),
    );
    keys.insert("replicates".into(), replicates());
    if has_position {
        keys.insert("position".into(), choice("Where.", &["first", "last"]));
    }
    object("A column.", keys)
}

fn sources() -> Value {
    let mut keys = Map::new();
    let kinds = [
        "runs",
        "predictions",
        "samples",
        "values",
        "metrics",
        "angles",
        "file",
        "stages",
    ];
    keys.insert("kind".into(), choice("What a record stands for.", &kinds));
    keys.insert(
        "from".into(),
        texts("local, files and patterns, or wandb:ENTITY/PROJECT."),
    );
    keys.insert(
        "ca_file".into(),
        text(
            "File with certificates (PEM) that are trusted for wandb:, beside those of the system.",
        ),
    );
    keys.insert("where".into(), condition());
    keys.insert("predictions".into(), predictions());
    let one = object("Where records come from.", keys);
    json!({"anyOf": [one.clone(), {"type": "object", "additionalProperties": one}]})
}

fn predictions() -> Value {
    let mut keys = Map::new();
    keys.insert(
        "files".into(),
        texts("Prediction files, folders or patterns."),
    );
    for name in ["annotations", "lists"] {
        keys.insert(
            name.into(),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        );
    }
    keys.insert("specificity".into(), text("File of specificities."));
    keys.insert("topk".into(), whole("Predictions considered."));
    keys.insert(
        "ambiguous".into(),
        choice(
            "Nouns in several categories.",
            &["error", "best", "worst", "first"],
        ),
    );
    keys.insert(
        "missing".into(),
        choice("Nouns without specificity.", &["error", "zero", "fine"]),
    );
    object("How prediction files are scored.", keys)
}

fn replicates() -> Value {
    let mut keys = Map::new();
    keys.insert("by".into(), texts("Fields that tell replicates apart."));
    keys.insert("expected".into(), json!({"description": "Wanted number."}));
    keys.insert(
        "duplicates".into(),
        choice(
            "Several records of one.",
            &["newest", "mean", "error", "all"],
        ),
    );
    object("Replicates (seeds) of a cell.", keys)
}

fn aggregate() -> Value {
    let names = super::spec::Aggregate::ALL.map(|(name, _)| name);
    choice("How values become one.", &names)
}

fn order() -> Value {
    choice("The order.", &["value", "file", "first_seen"])
}

fn condition() -> Value {
    json!({
        "description": "Fields and the values or operators that must hold; any, not.",
        "type": "object",
    })
}

fn object(doc: &str, keys: Map<String, Value>) -> Value {
    json!({
        "description": doc,
        "type": "object",
        "properties": keys,
        "additionalProperties": false,
    })
}

fn choice(doc: &str, names: &[&str]) -> Value {
    json!({"description": doc, "enum": names})
}

fn text(doc: &str) -> Value {
    json!({"description": doc, "type": "string"})
}

fn texts(doc: &str) -> Value {
    json!({
        "description": doc,
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    })
}

fn flag(doc: &str) -> Value {
    json!({"description": doc, "type": "boolean"})
}

fn whole(doc: &str) -> Value {
    json!({"description": doc, "type": "integer", "minimum": 0})
}

fn number(doc: &str) -> Value {
    json!({"description": doc, "type": "number"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Location, Node, Source, SourceKind};
    use crate::reports::plot::PlotSpec;
    use crate::reports::spec::reading::{Item, Problems};
    use crate::reports::spec::{Parameters, TableSpec};

    /// A table with every key of the schema, whatever its value: none of them
    /// is unknown to the reader.
    #[test]
    fn every_key_is_one_that_is_read() {
        let source = Source::new(SourceKind::Argument, "");
        let location = Location::new(&source, 0..0);
        let item = |schema: &Value| Item {
            source: source.clone(),
            node: Node::from_json(&example(schema), 0..0),
        };
        let problems = Problems::default();
        let mut table = table_properties();
        // These are the report's own.
        table.remove("include");
        table.remove("name");
        table.remove("predictions");
        let entries = item(&object("", table)).entries().unwrap();
        TableSpec::read("t", &location, &entries, &Parameters::new(), &problems);
        let entries = item(&plot_schema()).entries().unwrap();
        PlotSpec::read("p", &location, &entries, &Parameters::new(), &problems);
        let unknown: Vec<String> = problems
            .into_inner()
            .into_iter()
            .map(|problem| problem.title)
            .filter(|title| title.contains("unknown key"))
            .collect();
        assert_eq!(unknown, Vec::<String>::new());
    }

    #[test]
    fn the_shipped_schema_is_the_present_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report.json");
        let shipped = std::fs::read_to_string(path).unwrap();
        let present = format!("{:#}\n", report_schema());
        assert_eq!(
            shipped, present,
            "run `novic schema --report > schema/report.json`"
        );
    }

    fn example(schema: &Value) -> Value {
        if let Some(first) = schema["anyOf"].get(0) {
            return example(first);
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        match schema["type"].as_str() {
            Some("object") => {
                let keys = schema["properties"].as_object();
                let pairs = keys.into_iter().flatten();
                Value::Object(
                    pairs
                        .map(|(name, own)| (name.clone(), example(own)))
                        .collect(),
                )
            }
            Some("array") => Value::from(vec![example(&schema["items"])]),
            Some("boolean") => true.into(),
            Some("integer" | "number") => 1.into(),
            _ => "x".into(),
        }
    }
}
