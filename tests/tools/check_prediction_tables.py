#!/usr/bin/env python3
"""Checks the prediction tables of the reference data against a second, independent scoring.

usage: check_prediction_tables.py GOLDEN/reports

Reads the prediction files and annotations again, scores them by the rules of the specification in a few lines of its
own, and compares with every table of format_preds.json, every row of derived.json, every number of statistics.json and
every output of specificity.json. Needs nothing but Python. Exit code 1 names the first difference.
"""

import json
import math
import statistics
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
    """Every cell of every table."""
    cells = 0
    for case in load(golden / "format_preds.json"):
        if case.get("exception"):
            continue
        opened = Case(case, golden)
        gencfg, sample_tables = None, opened.sample_tables()
        for event in case["events"]:
            if "log" in event and "decoded with " in event["text"]:
                gencfg = event["text"].split("decoded with ")[1].rstrip(":")
            if "table" not in event:
                continue
            headers, rows = event["table"]["headers"], event["table"]["rows"]
            where = f"{case['name']}: {headers[0].strip()}"
            match headers[0].strip():
                case "Key":
                    same(where, rows, opened.comparison())
                case "Sample":
                    # Headers beyond the predictions are not printed.
                    wanted = next(sample_tables)
                    same(where, [headers[: len(wanted[0])], *rows], wanted)
                case "Gen Cfg":
                    opened.check_matrix(where, headers, rows)
                case _:
                    opened.check_models(where, headers, rows, gencfg)
            cells += sum(map(len, rows))
    return cells


def same(where, found, expected):
    for one, other in zip(found, expected):
        if one != other:
            fail(where, one, other)
    if len(found) != len(expected):
        fail(where, len(found), len(expected))


class Case:
    """The files and annotations of a case."""

    def __init__(self, case, golden):
        cfg = case["cfg"]
        place = lambda text: Path(text.replace("$INPUTS", str(golden / "inputs")))
        paths = set()
        for entry in filter(None, cfg["load_pred_jsons"]):
            path = place(entry)
            paths.update(path.glob("*.json") if path.is_dir() else [path])
        self.files = [(path.name, load(path)) for path in sorted(paths, key=str)]
        annotations = cfg["pred_ann_json"].replace("$IMAGEDIR", str(place(cfg["pred_image_dir"])))
        self.annotations = load(place(annotations)) if annotations else {}
        self.topk, self.spec = cfg["pfmt_topk"], cfg["pfmt_model_spec"]

    def comparison(self):
        """Rows of keys that differ from the first file's: numbers by value, texts cut."""
        flat = [flattened({k: v for k, v in file.items() if k != "predictions"}) for _, file in self.files]
        show = lambda value: None if value is None else str(value)[:40]
        differs = lambda key: any(file.get(key) != flat[0].get(key) for file in flat)
        keys = sorted({key for file in flat for key in file})
        return [[key, *(show(file.get(key)) for file in flat)] for key in keys if differs(key)]

    def sample_tables(self):
        """Headers and coloured rows of each file under each configuration."""
        colors = {0: "92", 1: "35", 2: "33", 3: "91"}
        for _, file in self.files:
            for entry in file["predictions"].values():
                table = []
                for at, sample in enumerate(file["samples"]):
                    row = [sample]
                    lists = self.annotations.get(sample, {})
                    right = lists.get("correct_primary", []) + lists.get("correct_secondary", [])
                    columns = zip(entry["pred"][at], entry["score"][at], entry["result"][at])
                    for noun, score, kind in list(columns)[: self.topk]:
                        color = colors[0 if noun in right else kind]
                        row.append(f"\x1b[{color}m{noun}\x1b[0m = {score:.3g}")
                    table.append(row)
                width = max((len(row) for row in table), default=self.topk + 1)
                headers = ["Sample", *(f"Prediction {k}" for k in range(1, width))]
                yield [headers, *table]

    def check_models(self, where, headers, rows, gencfg):
        name_of = lambda name, file: file["model"] if self.spec else name
        for row in rows:
            row = dict(zip(headers, row))
            model, fitting = row[headers[0]], []
            for name, file in self.files:
                if name_of(name, file) != model:
                    continue
                for cfg_name in [gencfg] if gencfg else file["predictions"]:
                    if cfg_name in file["predictions"]:
                        fitting.append(expected_row(self.annotations, file, cfg_name, headers))
            if not any(all(row[key] == want[key] for key in want) for want in fitting):
                fail(f"{where}: {model}", row, fitting)

    def check_matrix(self, where, headers, rows):
        """Cells, means and maxima of configurations by files; the best mean stands first."""
        width = max(len(str(len(file["samples"]))) for _, file in self.files) + 2
        names = list(dict.fromkeys(name for _, file in self.files for name in file["predictions"]))
        scores = {name: [self.tenths(file, name) for _, file in self.files] for name in names}
        totals = [len(file["samples"]) for _, file in self.files]
        deep = max(len(tenths) for cells in scores.values() for tenths in cells if tenths)
        show = lambda points, shares: self.joined(points, shares, width, deep)

        def line(cells):
            """Means over the files that have so many scores, then the cells."""
            present = [(c, t) for c, t in zip(cells, totals) if c]
            columns = range(max((len(c) for c, _ in present), default=0))
            own = [[(c[k] / 10, c[k] / 10 / t) for c, t in present if len(c) > k] for k in columns]
            mean = lambda values: sum(values) / len(values)
            points, shares = [mean([p for p, _ in k]) for k in own], [mean([s for _, s in k]) for k in own]
            texts = [show([v / 10 for v in c], [v / 10 / t for v in c]) if c else None
                     for c, t in zip(cells, totals)]
            return points, shares, [show(points, shares), *texts]

        lines = {name: line(cells) for name, cells in scores.items()}
        best = lambda lists: [max(x[k] for x in lists if len(x) > k) for k in range(max(map(len, lists)))]
        top = show(best([points for points, _, _ in lines.values()]), best([s for _, s, _ in lines.values()]))
        columns = []
        for at, total in enumerate(totals):
            own = [cells[at] for cells in scores.values() if cells[at]]
            high = best(own) if own else []
            columns.append(show([v / 10 for v in high], [v / 10 / total for v in high]) if high else None)
        same(where, [rows[0]], [["MAXIMUM (mixed gencfg)", top, *columns]])
        found = {row[0]: row[1:] for row in rows[1:]}
        for name in names:
            mean, own = lines[name][2][0], lines[name][2][1:]
            same(f"{where}: {name}", found[name][1:], own)
            if not alike(found[name][0], mean):
                fail(f"{where}: mean of {name}", found[name][0], mean)
        first = [lines[row[0]][1][0] for row in rows[1:]]
        same(f"{where}: order", first, sorted(first, reverse=True))

    def tenths(self, file, gencfg):
        entry = file["predictions"].get(gencfg)
        if entry is None:
            return None
        depth = min(self.topk, entry["gen_cfg"]["topk"])
        return [best_of_first(self.annotations, file, gencfg, k) for k in range(1, depth + 1)]

    @staticmethod
    def joined(points, shares, width, deep):
        left = " < ".join(f"{value:>{width}.1f}" for value in points)
        right = " < ".join(percent(100 * value) for value in shares)
        return f"{left:<{deep * (width + 3) - 3}} = {right}"


def alike(found, expected):
    """The same text but for the last digit of a tie, which depends on the order of a sum."""
    numbers = lambda text: [float(word.rstrip("%")) for word in text.split() if word[0].isdigit()]
    near = all(abs(a - b) <= 0.1000001 for a, b in zip(numbers(found), numbers(expected), strict=True))
    return near and len(found) == len(expected)


def flattened(value, prefix=""):
    flat = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat |= flattened(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


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
        interval = wilson(of["correct_primary"] + of["correct_secondary"], total)
        points = [t / 10 for t in tenths]
        resampled = percentiles(means(points, **data["bootstrap"]))
        for key, found in {"correct_wilson95": interval, "bootstrap95": resampled}.items():
            for end, expected in zip(found, row[key]):
                close(f"{where}: {key}", 100 * end, expected)
    return len(data["rows"])


def wilson(hits, total):
    z = 1.959963984540054
    p, square = hits / total, z * z / total
    half = z * math.sqrt(p * (1 - p) / total + square / 4 / total)
    return [(p + square / 2 + sign * half) / (1 + square) for sign in (-1, 1)]


def splitmix(seed):
    mask = (1 << 64) - 1
    while True:
        seed = seed + 0x9E3779B97F4A7C15 & mask
        z = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield z ^ z >> 31


def means(points, resamples, seed):
    """The mean of each resample."""
    draws, n = splitmix(seed), len(points)
    return [sum(points[next(draws) * n >> 64] for _ in range(n)) / n for _ in range(resamples)]


def quantile(values, q):
    values = sorted(values)
    at = (len(values) - 1) * q
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def percentiles(values):
    return [quantile(values, q) for q in (0.025, 0.975)]


def check_statistics(golden):
    data = load(golden / "statistics.json")
    draws = splitmix(data["splitmix64"]["seed"])
    for expected in data["splitmix64"]["first"]:
        close("splitmix64", next(draws) / 2**64, int(expected) / 2**64)
    # From which small seed these are drawn is not told, only that it is one for all.
    drawn = lambda seed, n, count: [next(draws) * n >> 64 for draws in [splitmix(seed)] for _ in range(count)]
    below = data["splitmix64"]["below"]
    if not any(all(drawn(seed, n, len(own)) == own for n, own in reversed(below)) for seed in range(1000)):
        fail("splitmix64 below", below, "those of a small seed")
    for case in data["summary"]:
        values = case["values"]
        close("mean", statistics.fmean(values), case["mean"])
        close("median", statistics.median(values), case["median"])
        close("std", statistics.stdev(values) if len(values) > 1 else None, case["std"])
    for hits, total, expected in data["wilson95"]:
        for end, other in zip(wilson(hits, total) if total else [], expected or []):
            close("wilson95", end, other)
    for values, q, expected in data["quantile"]:
        close("quantile", quantile(values, q), expected)
    for case in data["bootstrap"]:
        found = percentiles(means(case["points"], case["resamples"], case["seed"]))
        for end, expected in zip(found, case["ci95"]):
            close("bootstrap", end, expected)
    for case in data["paired"]:
        differences = [a - b for a, b in zip(case["a"], case["b"])]
        resampled = means(differences, case["resamples"], case["seed"])
        for end, expected in zip(percentiles(resampled), case["ci"]):
            close("paired", end, expected)
        sides = [sum(sign * mean <= 1e-12 for mean in resampled) for sign in (1, -1)]
        close("p", min(1, 2 * (min(sides) + 1) / (len(resampled) + 1)), case["p"])
    return sum(len(data[name]) for name in ("summary", "wilson95", "quantile", "bootstrap", "paired"))


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
    numbers = check_statistics(golden)
    if not (cells and rows and outputs and numbers):
        sys.exit("nothing was checked")
    print(f"{cells} cells, {rows} rows, {outputs} outputs and {numbers} statistics agree")


if __name__ == "__main__":
    main()
