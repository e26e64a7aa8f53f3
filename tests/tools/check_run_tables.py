#!/usr/bin/env python3
"""Checks the tables of runs in the reference data against a second, independent evaluation.

usage: check_run_tables.py GOLDEN/reports

Takes the runs that each case of format_wandb.json was answered with, collects their rows and logs again in a few lines
of its own, and compares every cell of every table. The order of rows is that of sort keys, which units.json has; rows
are compared as a set. Needs nothing but Python. Exit code 1 names the first difference.
"""

import json
import re
import sys
from pathlib import Path

POINTS = {"correct_primary": 10, "correct_secondary": 8, "close_primary": 5, "close_secondary": 4}
NAMED = ["correct_primary", "correct_secondary", "close_primary", "close_secondary", "incorrect"]
CODES = re.compile(r"\x1b\[[0-9;]*m")


def load(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def fail(where, found, expected):
    sys.exit(f"{where}: {found!r} was found, {expected!r} expected")


def number(value, decimals, width):
    return f"{'-' if value is None else f'{value:.{decimals}f}':>{width}}%"


def percent(value):
    if value is None:
        return "     -%"
    text = f"{value:.3f}"
    return f"{text if len(text) <= 6 else f'{value:.2f}':>6}%"


def parse(log, spec):
    """Sample and noun of each prediction of a model, in order; None if the log does not have them."""
    lines = CODES.sub("", log).split("\n")
    loads = [at for at, line in enumerate(lines) if "] Loading model: " in line and line.endswith(f"/{spec}")]
    if not loads:
        return None
    rest = lines[loads[0] + 1 :]
    begin = next((at for at, line in enumerate(rest) if line.endswith(
        "] Inferencing loaded model on the generated embeddings...")), None)
    end = next((at for at, line in enumerate(rest) if re.search(r"\] -{40,}$", line)), None)
    if begin is None or end is None or end < begin:
        return None
    found = [re.match(r"^.*?\] (.*) --> (.*)$", line) for line in rest[begin + 1 : end]]
    pairs = [(match[1], " ".join(match[2].split())) for match in found if match]
    return pairs or None


class Models:
    """What the rows of the runs say about each model, the first that is met."""

    def __init__(self, runs, selected):
        self.datasets, self.classes, self.infer, self.order = {}, {}, {}, []
        self.samples = []
        for run in runs:
            for row in run["history"]:
                if any(f"Eval/model_{key}" not in row for key in ("path", "dir", "name")):
                    continue
                model = (row["Eval/model_dir"], row["Eval/model_name"])
                spec = "/".join(model)
                if selected and not {spec, model[0]} & selected:
                    continue
                if spec not in self.order:
                    self.order.append(spec)
                self.take(run, row, spec)

    def take(self, run, row, spec):
        action, dataset = run["config"]["action"], row.get("Eval/dataset")
        if action == "eval":
            values = (row.get("Eval/noun_top1"), row.get("Eval/top1"))
            self.datasets.setdefault(spec, {}).setdefault(dataset, values)
        elif action == "eval_cls" and dataset == "ImageNet1K":
            names = ["valid", "direct_correct", "DirectValidGuidedCorrect", "noun_top1"]
            values = [row.get(f"Eval/{name}") for name in names]
            if any(value is not None for value in values):
                self.classes.setdefault(spec, values)
        elif action == "infer":
            pairs = parse(run["output_log"], spec) if run.get("log_status") is None else None
            for sample, _ in pairs or []:
                if sample not in self.samples:
                    self.samples.append(sample)
            self.infer.setdefault(spec, (row.get("Eval/valid"), pairs))

    def top1(self, spec, pattern):
        for name, values in self.datasets.get(spec, {}).items():
            if name and re.fullmatch(pattern, name):
                return values
        return (None, None)


def tag(host):
    return re.sub(r"-mlpod$", "", re.sub(r"^ovod-", "", host))


def trainings(store, calls):
    """Tag and command line of each model's directory, as the service answered."""
    found = {}
    by_id = {run["id"]: run for run in store}
    for call in calls:
        actions = [part.get("config.action") for part in call["filters"]["$and"]]
        if "train" not in actions:
            continue
        for id in call["ids"]:
            run = by_id[id]
            name = run["config"].get("hydra_name")
            if name:
                metadata = run["metadata"]
                found.setdefault(name, (tag(metadata["host"]), metadata["args"]))
    return found


def scored(annotations, pairs):
    """Details, score and percentage."""
    counts = dict.fromkeys(NAMED, 0)
    tenths = 0
    for sample, noun in pairs:
        names = sorted(name for name, nouns in annotations.get(sample, {}).items() if noun in nouns)
        name = names[0] if names else None
        tenths += POINTS.get(name, 0)
        if name in counts:
            counts[name] += 1
    total = len(pairs)
    width = len(str(total))
    c = [f"{counts[name]:>{width}}" for name in NAMED] + [f"{total - sum(counts.values()):>{width}}"]
    details = f"{c[0]}/{c[1]}✓ {c[2]}/{c[3]}~ {c[4]}/{c[5]}✗ = {total}"
    share = percent(10 * tenths / total) if total else "   nan%"
    return details, f"{tenths / 10:>{width + 2}.1f}", share


def expected_rows(kind, models, trained, annotations):
    pair = lambda values: f"{number(values[0], 3, 6)} + {number(values[1], 4, 6)}"
    both = lambda spec, name, decimals: " + ".join(
        number(models.top1(spec, f"cls_{name}_valid_{variant}_vt[0-9]+.bin")[0], decimals, decimals + 3)
        for variant in ("multi", "guide"))
    for spec in models.order:
        name, command = trained.get(spec.split("/")[0], ("-", ["-"]))
        classes = [percent(value) for value in models.classes.get(spec, [None] * 4)]
        captions = pair(models.top1(spec, "captions2_cache_vt[0-9]+.bin"))
        if kind == "eval":
            sets = [f"noun_dataset{n}_cache_vt[0-9]+.bin" for n in ("", "2", "3")]
            guide = models.top1(spec, "cls_imagenet1k_valid_guide_vt[0-9]+.bin")[0]
            yield [name, spec, *(pair(models.top1(spec, s)) for s in sets), captions, *classes, percent(guide),
                   *(both(spec, n, 2) for n in ("fashionmnist", "cifar10", "cifar100")),
                   *(both(spec, n, 3) for n in ("food101", "imagenette", "imagewoof"))]
        elif kind == "infer":
            if spec not in models.infer:
                continue
            valid, pairs = models.infer[spec]
            nouns = dict(pairs or [])
            yield [name, spec, percent(valid), *(nouns.get(s, "-")[:22] for s in models.samples)]
        else:
            valid, pairs = models.infer.get(spec, (None, None))
            yield [name, spec, captions, *classes, both(spec, "imagenet1k", 3), both(spec, "food101", 3),
                   *scored(annotations, pairs or []), percent(valid), " ".join(reversed(command))]


def check_case(case, stores, golden):
    store = stores[case["records"]]
    by_id = {run["id"]: run for run in store}
    trained = trainings(store, case["calls"])
    selected, runs = set(case["cfg"]["fmt_models"].split()), []
    for call in case["calls"]:
        text = json.dumps(call["filters"])
        if '"config.action": "train"' not in text:
            runs = [by_id[id] for id in call["ids"]]
        elif '"host"' in text:
            selected |= {by_id[id]["config"]["hydra_name"] for id in call["ids"]}
    models = Models(runs, selected - {""})
    annotations = load(golden / "inputs/runs/_class_annotations.json")
    cells = 0
    for event in case["events"]:
        if "table" not in event:
            continue
        headers, rows = event["table"]["headers"], event["table"]["rows"]
        kind = "all" if "Infer stats" in headers else "eval" if "Eval dataset" in headers else "infer"
        if kind == "infer":
            stem = lambda sample: f"{(sample.rpartition('.')[0] or sample).replace('_', ' '):<22}"
            names = ["Tag", "Ovod", "Valid", *map(stem, models.samples)]
            if headers != names:
                fail(f"{case['name']}: headers", headers, names)
        expected = sorted(expected_rows(kind, models, trained, annotations))
        if sorted(rows) != expected:
            for found, wanted in zip(sorted(rows), expected):
                if found != wanted:
                    fail(case["name"], found, wanted)
            fail(f"{case['name']}: rows", len(rows), len(expected))
        cells += sum(map(len, rows))
    return cells


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    golden = Path(sys.argv[1])
    stores = load(golden / "runs.json")
    cases = [case for case in load(golden / "format_wandb.json") if not case.get("exception")]
    cells = sum(check_case(case, stores, golden) for case in cases)
    if not cells:
        sys.exit("nothing was checked")
    print(f"{cells} cells of {len(cases)} cases agree")


if __name__ == "__main__":
    main()
