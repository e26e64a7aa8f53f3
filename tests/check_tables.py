#!/usr/bin/env python3
"""Recomputes the reference tables from their records, independently of novic.

    python3 tests/check_tables.py [NOVIC]

Evaluates every report of tests/golden/reports/declarative.json with the few
lines below and compares each cell's replicates, mean and standard deviation.
With the path of the program, its CSV of the same report is compared too.
"""

import csv
import fnmatch
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib

GOLDEN = os.environ.get("NOVIC_GOLDEN", "tests/golden") + "/reports/declarative.json"


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return a == b if numbers or type(a) is type(b) else False


def less(a, b):
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return a < b if numbers or isinstance(a, str) and isinstance(b, str) else None


OPERATORS = {
    "eq": same,
    "ne": lambda a, b: not same(a, b),
    "in": lambda a, b: any(same(a, x) for x in b),
    "not_in": lambda a, b: not any(same(a, x) for x in b),
    "lt": lambda a, b: less(a, b) is True,
    "ge": lambda a, b: less(a, b) is False,
    "gt": lambda a, b: less(b, a) is True,
    "le": lambda a, b: less(b, a) is False,
    "exists": lambda a, b: b,
    "matches": lambda a, b: isinstance(a, str) and re.fullmatch(b, a) is not None,
    "glob": lambda a, b: isinstance(a, str) and fnmatch.fnmatchcase(a, b),
}


def holds(condition, record):
    for field, wanted in condition.items():
        if field == "any":
            good = any(holds(part, record) for part in wanted)
        elif field == "not":
            good = not holds(wanted, record)
        else:
            value = record.get(field)
            tests = wanted if isinstance(wanted, dict) else {"eq": wanted}
            for name, operand in tests.items():
                if value is None:
                    good = name in ("ne", "not_in") or name == "exists" and not operand
                else:
                    good = OPERATORS[name](value, operand)
                if not good:
                    return False
            continue
        if not good:
            return False
    return True


def replicates(report, column, records):
    settings = report.get("replicates", {}) | column.get("replicates", {})
    groups = {}
    for record in records:
        key = json.dumps([record.get(field) for field in settings.get("by", [])])
        groups.setdefault(key, []).append(record)
    values = []
    for key in sorted(groups):
        group = sorted(groups[key], key=lambda r: (r["run.created_at"], r["run.id"]))
        own = [record[column["value"]] for record in group]
        how = settings.get("duplicates", "newest")
        values += {"newest": own[-1:], "mean": [statistics.fmean(own)], "all": own}[how]
    return values


def rows(report, records):
    spec = report["rows"]
    if "group" in spec:
        return [row["where"] for group in spec["group"] for row in group["rows"]]
    keys = {tuple(record.get(field) for field in spec["by"]) for record in records}
    rank = lambda v: (0, 0, "") if v is None else (1, v, "") if not isinstance(v, str) else (2, 0, v)
    keys = sorted(keys, key=lambda key: [rank(v) for v in key], reverse=spec.get("descending", False))
    condition = lambda v: {"exists": False} if v is None else v
    return [{f: condition(v) for f, v in zip(spec["by"], key)} for key in keys]


def close(a, b):
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def cells(report, records):
    chosen = [record for record in records if holds(report.get("where", {}), record)]
    for row in rows(report, chosen):
        line = []
        for column in report["col"]:
            own = [
                record
                for record in chosen
                if holds(row, record)
                and holds(column.get("where", {}), record)
                and record.get(column["value"]) is not None
            ]
            line.append(replicates(report, column, own))
        yield line


def numbers(values):
    mean = statistics.fmean(values) if values else None
    return len(values), mean, statistics.stdev(values) if len(values) > 1 else None


def check_program(program, case, records, lines):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/records.json", "w") as file:
            json.dump(records, file)
        with open(f"{folder}/report.toml", "w") as file:
            source = '[source]\nkind = "file"\nfrom = ["records.json"]\n'
            head, rest = case["toml"].split("[rows]", 1)
            file.write(head + source + "[rows]" + rest)
        command = [program, "report", "report.toml", "--format", "csv"]
        out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    table = list(csv.reader(io.StringIO(out.stdout)))[1:]
    assert len(table) == len(lines), f"{len(table)} rows for {len(lines)}"
    for shown, line in zip(table, lines):
        for at, values in enumerate(line):
            n, _, std = numbers(values)
            _, own_std, own_n, _ = shown[2 + 4 * at : 6 + 4 * at]
            assert int(own_n) == n, (case["name"], shown[1], own_n, n)
            assert close(float(own_std) if own_std else None, std), (case["name"], shown[1])


def main():
    with open(GOLDEN) as file:
        data = json.load(file)
    checked = 0
    for case in data["reports"]:
        report = tomllib.loads(case["toml"])
        lines = list(cells(report, data["records"]))
        expected = [row for group in case["table"]["groups"] for row in group["rows"]]
        assert len(lines) == len(expected), (case["name"], len(lines), len(expected))
        for line, row in zip(lines, expected):
            for values, cell in zip(line, row["cells"], strict=True):
                n, mean, std = numbers(values)
                stats = cell["stats"]
                place = (case["name"], row["label"], cell["text"])
                assert n == stats["n"], place
                assert close(mean, stats.get("mean")), place
                assert close(std, stats.get("std")), place
                checked += 1
        if len(sys.argv) > 1:
            check_program(os.path.abspath(sys.argv[1]), case, data["records"], lines)
    print(f"{checked} cells of {len(data['reports'])} tables are right")


if __name__ == "__main__":
    main()
