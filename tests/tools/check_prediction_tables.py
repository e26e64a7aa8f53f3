#!/usr/bin/env python3
"""Checks the prediction tables of the reference data against a second, independent scoring.

usage: check_prediction_tables.py GOLDEN/reports

Reads the prediction files and annotations again, scores them by the rules of the specification in a few lines of its
own, and compares with every table of format_preds.json that shows scores, every row of derived.json and every output of
specificity.json. Needs nothing but Python. Exit code 1 names the first difference.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

POINTS = {"correct_primary": 10, "correct_secondary": 8, "close_primary": 5, "close_secondary": 4}
NAMED = ["correct_primary", "correct_secondary", "close_primary", "close_secondary", "incorrect"]


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def categories(annotations, sample, noun):
    entry = annotations.get(sample)
    return [] if entry is None else [name for name, nouns in entry.items() if noun in nouns]


def choose(found, rule):
    if not found:
        return None
    if rule == "first":
        return min(found)
    if rule == "last":
        return found[-1]
    order = sorted(found)
    pick = max if rule == "best" else min
    best = pick(POINTS.get(name, 0) for name in order)
    return next(name for name in order if POINTS.get(name, 0) == best)


def top1(annotations, file, gencfg, rule):
    """The chosen category of each sample's first noun."""
    rows = file["predictions"][gencfg]["pred"]
    return [choose(categories(annotations, s, row[0]), rule) for s, row in zip(file["samples"], rows)]


def best_of_first(annotations, file, gencfg, k):
    """Tenths of points of the best of the first k predictions, summed over samples."""
    total = 0
    for sample, row in zip(file["samples"], file["predictions"][gencfg]["pred"]):
        chosen = [choose(categories(annotations, sample, noun), "first") for noun in row[:k]]
        total += max(POINTS.get(name, 0) for name in chosen)
    return total


def fail(where, found, expected):
    sys.exit(f"{where}: {found!r} was found, {expected!r} expected")


def close(where, found, expected, tolerance=1e-9):
    if found is None or expected is None:
        if found is not expected:
            fail(where, found, expected)
    elif abs(float(found) - expected) > tolerance * max(1.0, abs(expected)):
        fail(where, float(found), expected)


def check_tables(golden):
    """Details, scores and percentages of every table of models."""
    cells = 0
    for case in load(golden / "format_preds.json"):
        cfg = case["cfg"]
        if not cfg["pfmt_type"].lower().startswith("model_") or case.get("exception"):
            continue
        place = lambda text: Path(text.replace("$INPUTS", str(golden / "inputs")))
        paths = set()
        for entry in filter(None, cfg["load_pred_jsons"]):
            path = place(entry)
            paths.update(path.glob("*.json") if path.is_dir() else [path])
        files = [(path.name, load(path)) for path in sorted(paths, key=str)]
        image_dir = str(place(cfg["pred_image_dir"]))
        ann = cfg["pred_ann_json"]
        annotations = load(place(ann.replace("$IMAGEDIR", image_dir))) if ann else {}
        name_of = lambda name, file: file["model"] if cfg["pfmt_model_spec"] else name
        gencfg = None
        for event in case["events"]:
            if "log" in event and "decoded with " in event["text"]:
                gencfg = event["text"].split("decoded with ")[1].rstrip(":")
            if "table" not in event or event["table"]["headers"][:2][1:] != ["Top-1 Details"]:
                continue
            headers = event["table"]["headers"]
            for row in event["table"]["rows"]:
                row = dict(zip(headers, row))
                model = row[headers[0]]
                fitting = []
                for name, file in files:
                    if name_of(name, file) != model:
                        continue
                    for cfg_name in [gencfg] if gencfg else file["predictions"]:
                        if cfg_name in file["predictions"]:
                            fitting.append(expected_row(annotations, file, cfg_name, headers))
                if not any(all(row[key] == want[key] for key in want) for want in fitting):
                    fail(f"{case['name']}: {model}", row, fitting)
                cells += len(row)
    return cells


def expected_row(annotations, file, gencfg, headers):
    chosen = top1(annotations, file, gencfg, "first")
    total = len(chosen)
    width = len(str(total))
    counts = [chosen.count(name) for name in NAMED]
    counts.append(total - sum(counts))
    c = [f"{count:>{width}}" for count in counts]
    row = {"Top-1 Details": f"{c[0]}/{c[1]}✓ {c[2]}/{c[3]}~ {c[4]}/{c[5]}✗ = {total}"}
    for header in headers:
        if header.startswith("Top-") and header[4:].rstrip("%").isdigit():
            k = int(header[4:].rstrip("%"))
            tenths = best_of_first(annotations, file, gencfg, k)
            if header.endswith("%"):
                row[header] = percent(100 * tenths / 10 / total if total else float("nan"))
            else:
                row[header] = f"{tenths / 10:>{width + 2}.1f}"
    return row


def percent(value):
    text = f"{value:.3f}"
    text = text if len(text) <= 6 else f"{value:.2f}"
    return f"{text:>6}%"


def check_derived(golden):
    data = load(golden / "derived.json")
    words = set(data["word_list"])
    for row in data["rows"]:
        folder = golden / "inputs" / row["set"]
        annotations = load(folder / row["annotations"])
        file = load(folder / "preds" / row["file"])
        where = f"{row['set']}/{row['file']} {row['gencfg']} {row['ambiguous']}"
        chosen = top1(annotations, file, row["gencfg"], row["ambiguous"])
        nouns = [pred[0] for pred in file["predictions"][row["gencfg"]]["pred"]]
        total = len(chosen)
        of = {name: chosen.count(name) for name in NAMED}
        tenths = [POINTS.get(name, 0) for name in chosen]
        missing = chosen.count(None)
        share = lambda value: Fraction(10 * value, total)
        weighted = sum(t * data["specificity"][n] for t, n in zip(tenths, nouns) if t)
        for key, found in {
            "score": share(sum(tenths)),
            "primary": share(10 * of["correct_primary"] + 5 * of["close_primary"]),
            "correct": share(10 * (of["correct_primary"] + of["correct_secondary"])),
            "secondary_as_primary": share(
                10 * (of["correct_primary"] + of["correct_secondary"])
                + 5 * (of["close_primary"] + of["close_secondary"])
            ),
            "overall": 10 * weighted / total,
            "used": len(set(nouns)),
            "seen": len(file["vocab_targets"]),
            "in_list": 100 * sum(noun in words for noun in nouns) / total,
            "unannotated": missing,
            "lower": share(sum(tenths)),
            "upper": share(sum(tenths) + 10 * missing),
            "annotated_only": Fraction(10 * sum(tenths), total - missing) if total > missing else None,
        }.items():
            close(f"{where}: {key}", found, row[key])
    return len(data["rows"])


def check_specificity(golden):
    checked = 0
    for case in load(golden / "specificity.json"):
        if case.get("exception"):
            continue
        folder = golden / "inputs" / "specificity" / case["name"]
        annotations = load(folder / "annotations.json")
        specificity = load(folder / "specificity.json")
        scores, overall = {}, {}
        for path in sorted(folder.glob("preds/*.json")):
            file = load(path)
            (entry,) = file["predictions"].values()
            noun_of = {sample: row[0] for sample, row in zip(file["samples"], entry["pred"])}
            points = [
                POINTS.get(choose(categories(annotations, sample, noun), "last"), 0) / 10
                for sample, noun in noun_of.items()
            ]
            weighted = [p * specificity[noun] for p, noun in zip(points, noun_of.values())]
            scores[path.name] = f"{100 * sum(points) / len(points):.2f}%"
            overall[path.name] = f"{100 * sum(weighted) / len(points):.2f}%"
        text = f"Prediction scores:\n{mapping(scores)}\n\nOverall scores:\n{mapping(overall)}\n\n"
        if text != case["stdout"]:
            fail(case["name"], text, case["stdout"])
        checked += 1
    return checked


def mapping(entries):
    line = str(entries)
    return line if len(line) <= 120 else line.replace(", ", ",\n ")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    golden = Path(sys.argv[1])
    cells, rows, outputs = check_tables(golden), check_derived(golden), check_specificity(golden)
    if not (cells and rows and outputs):
        sys.exit("nothing was checked")
    print(f"{cells} cells, {rows} rows and {outputs} outputs agree")


if __name__ == "__main__":
    main()
