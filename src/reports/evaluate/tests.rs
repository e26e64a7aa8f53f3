//! What tables do beyond the reference data: picks, parts, joins, margins,
//! differences, splits, sources together.

use serde_json::{Value, json};

use super::{EvaluatedTable, Sources, evaluate};
use crate::reports::document::Report;
use crate::reports::record::Record;
use crate::reports::render::{self, Style};

fn records(list: Value) -> Vec<Record> {
    serde_json::from_value(list).expect("records")
}

fn tables(text: &str, sources: Vec<Value>) -> Vec<EvaluatedTable> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.toml");
    std::fs::write(&path, text).unwrap();
    let report = Report::load(&path, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let sources = Sources(sources.into_iter().map(records).collect());
    evaluate(&report.tables[0], &sources).unwrap_or_else(|error| panic!("{error}"))
}

fn shown(text: &str, list: Value) -> String {
    let tables = tables(text, vec![list]);
    let texts: Vec<String> = tables.iter().map(render::markdown).collect();
    texts.join("\n")
}

#[test]
fn the_columns_of_a_pick_come_from_one_record() {
    let list = json!([
        {"model": "a", "seed": 1, "score": 70, "used": 300, "at": "x"},
        {"model": "a", "seed": 2, "score": 80, "used": 200, "at": "y"},
        {"model": "b", "seed": 1, "score": 75, "used": 1234},
    ]);
    let table = shown(
        "replicates = { by = [\"seed\"], expected = 2 }\n[rows]\nheader = \"Model\"\nby = [\"model\"]\n\
         [[col]]\nlabel = \"Used\"\nvalue = \"used\"\npick = \"Score\"\nformat = \"{value:.0f}\"\n\
         thousands = true\n[[col]]\nlabel = \"At\"\nvalue = \"at\"\npick = \"Score\"\n\
         format = \"{value}\"\n[[col]]\nlabel = \"Less\"\nexpr = \"score - used / 100\"\n\
         pick = \"Score\"\n[[col]]\nlabel = \"Score\"\nvalue = \"score\"\nagg = \"best\"\n",
        list,
    );
    insta::assert_snapshot!(table, @r"
    | Model | Used | At | Less | Score |
    | --- | ---: | ---: | ---: | ---: |
    | a | 200 | y | 78.00 | 80.00 |
    | b | 1 234 (1/2) | - | 62.66 (1/2) | 75.00 (1/2) |
    ");
}

#[test]
fn parts_variants_and_repetitions_share_a_cell() {
    let list = json!([
        {"model": "a", "set": "food_multi", "top1": 50, "loss": 1.5},
        {"model": "a", "set": "food_guide", "top1": 60, "loss": 1.25},
        {"model": "b", "set": "food_multi", "top1": 55},
    ]);
    let table = shown(
        "[rows]\nby = [\"model\"]\n[[col]]\nforeach = { d = [\"Food:food\"] }\nlabel = \"{d:0}\"\n\
         value = \"top1\"\nagg = \"last\"\nformat = \"{multi:.1f}% + {guide:.1f}%\"\n\
         variants = { multi = { set = \"{d:1}_multi\" }, guide = { set = \"{d:1}_guide\" } }\n\
         [[col]]\nlabel = \"Both\"\nvalues = { t = \"top1\", l = \"loss\" }\n\
         format = \"{t.max:.0f} / {l:.3f}\"\n[[col]]\nlabel = \"Sets\"\nvalue = \"set\"\n\
         agg = \"distinct\"\nreplicates = { duplicates = \"all\" }\nformat = \"{value}\"\n",
        list,
    );
    insta::assert_snapshot!(table, @r"
    |  | Food | Both | Sets |
    | --- | ---: | ---: | ---: |
    | a | 50.0% + 60.0% | 60 / 1.250 | food\_guide, food\_multi |
    | b | 55.0% + -% | 55 / - | food\_multi |
    ");
}

#[test]
fn joined_cells_stand_below_each_other_and_margins_summarize() {
    let list = json!([
        {"g": "x", "file": "1", "p1": 5.0, "p2": 6.0, "s1": 50.0, "s2": 60.0},
        {"g": "x", "file": "2", "p1": 10.0, "s1": 100.0},
        {"g": "y", "file": "1", "p1": 4.0, "p2": 8.0, "s1": 40.0, "s2": 80.0},
    ]);
    let tables = tables(
        "sort = [\"-Mean\"]\n[rows]\nheader = \"Gen\"\nby = [\"g\"]\n[cols]\nby = [\"file\"]\n\
         label = \"File {file}\"\n[[col]]\n\
         values = { p1 = \"p1\", p2 = \"p2\", s1 = \"s1\", s2 = \"s2\" }\n\
         join = { separator = \" < \", groups = [[\"{p1:.1f}\", \"{p2:.1f}\"], \
         [\"{s1:.1f}%\", \"{s2:.1f}%\"]], between = \" = \" }\n\
         [margin.column]\nlabel = \"Mean\"\nagg = \"mean\"\nposition = \"first\"\n\
         [margin.row]\nlabel = \"MAX\"\nagg = \"max\"\nposition = \"first\"\n",
        vec![list],
    );
    let text = render::text(&tables[0], Style::Compat);
    insta::assert_snapshot!(text, @r"
    +-----+---------------------------+---------------------------+--------------------+
    | Gen | Mean                      | File 1                    | File 2             |
    +-----+---------------------------+---------------------------+--------------------+
    | MAX | 7.5 < 8.0 = 75.0% < 80.0% | 5.0 < 8.0 = 50.0% < 80.0% | 10.0      = 100.0% |
    | x   | 7.5 < 6.0 = 75.0% < 60.0% | 5.0 < 6.0 = 50.0% < 60.0% | 10.0      = 100.0% |
    | y   | 4.0 < 8.0 = 40.0% < 80.0% | 4.0 < 8.0 = 40.0% < 80.0% | -                  |
    +-----+---------------------------+---------------------------+--------------------+
    ");
}

#[test]
fn tables_are_split_and_sources_come_together() {
    let text = "title = \"Of {d}\"\nsplit = [\"d\"]\n[source.one]\nkind = \"file\"\nfrom = [\"a\"]\n\
                [source.two]\nkind = \"file\"\nfrom = [\"b\"]\n[rows]\nby = [\"m\"]\n\
                union = [\"one\", \"two\"]\ndescending = true\n\
                [[col]]\nlabel = \"V\"\nsource = \"one\"\nvalue = \"v\"\nformat = \"{value}\"\n\
                [[col]]\nlabel = \"Any\"\nsource = \"any\"\nvalue = \"w\"\nformat = \"{value}\"\n\
                [[col]]\nlabel = \"None\"\nsource = \"two\"\nvalue = \"z\"\nhide_empty = true\n";
    let one = json!([{"d": "A", "m": 1, "v": 2}, {"d": "B", "m": 1, "v": 3, "w": 9}]);
    let two = json!([{"d": "A", "m": 2, "w": 7}, {"d": "A", "m": 1, "w": 8}]);
    let texts: Vec<String> = tables(text, vec![one, two])
        .iter()
        .map(render::markdown)
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    **Of A**

    |  | V | Any |
    | --- | ---: | ---: |
    | 2 | - | 7 |
    | 1 | 2 | 8 |

    **Of B**

    |  | V | Any |
    | --- | ---: | ---: |
    | 1 | 3 | 9 |
    ");
}

#[test]
fn differences_footnotes_and_colours_belong_to_cells() {
    let list = json!([
        {"m": "a", "seed": 1, "v": 50.0, "open": 3}, {"m": "a", "seed": 2, "v": 50.2, "open": 0},
        {"m": "b", "seed": 1, "v": 60.0, "open": 0}, {"m": "b", "seed": 2, "v": 60.4, "open": 0},
    ]);
    let text = "compare_to = \"a\"\nreplicates = { by = [\"seed\"] }\n[rows]\nby = [\"m\"]\n\
                [[col]]\nlabel = \"V\"\nvalue = \"v\"\ncolor = [[55, \"green\"], \"red\"]\n\
                footnote = { when = { open = { gt = 0 } }, mark = \"‡\", text = \"open\" }\n";
    let tables = tables(text, vec![list.clone()]);
    insta::assert_snapshot!(render::markdown(&tables[0]), @r"
    |  | V | V Δ |
    | --- | ---: | ---: |
    | a | 50.10‡ | - |
    | b | 60.20 | +10.10† |

    ‡ open

    † p &lt; 0.05 of Welch's t-test over the replicates in V; 1 comparisons with a were made, each tested by itself
    ");
    let colors: Vec<_> = tables[0]
        .rows()
        .map(|row| row.cells[0].color.clone())
        .collect();
    assert_eq!(colors, [Some("red".to_owned()), Some("green".to_owned())]);
    let wrong = text.replace("\"a\"\nrep", "\"c\"\nrep");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.toml"), wrong).unwrap();
    let report = Report::load(&dir.path().join("r.toml"), &[]).unwrap();
    let sources = Sources(vec![records(list)]);
    let error = evaluate(&report.tables[0], &sources)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no row `c`") && error.contains("rows are a, b"),
        "{error}"
    );
}

#[test]
fn no_records_make_an_empty_table_and_several_of_one_replicate_an_error() {
    let text = "[rows]\nby = [\"m\"]\n[[col]]\nlabel = \"V\"\nvalue = \"v\"\n\
                replicates = { by = [\"seed\"], duplicates = \"error\" }\n";
    assert_eq!(shown(text, json!([])), "|  | V |\n| --- | ---: |\n");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.toml"), text).unwrap();
    let report = Report::load(&dir.path().join("r.toml"), &[]).unwrap();
    let twice = json!([
        {"m": 1, "seed": 1, "v": 1, "run.id": "r1"}, {"m": 1, "seed": 1, "v": 2, "run.id": "r2"},
    ]);
    let error = evaluate(&report.tables[0], &Sources(vec![records(twice)])).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("replicate [1] has several records (r1, r2)"),
        "{error}"
    );
}

#[test]
fn what_changed_needs_no_rows_and_no_columns() {
    let list = json!([
        {"config.model.layers": 4, "config.run.seed": 1, "top1": 50.0, "dataset": "A"},
        {"config.model.layers": 6, "config.run.seed": 1, "top1": 60.0, "dataset": "A"},
    ]);
    insta::assert_snapshot!(shown("title = \"Changed\"\n", list), @r"
    **Changed**

    | model.layers | top1 |
    | --- | ---: |
    | 4 | 50.00 |
    | 6 | 60.00 |
    ");
}
