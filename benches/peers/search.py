#!/usr/bin/env python3
"""Search beside Optuna: six functions, 200 trials, 20 seeds, medians of the regret.

    pip install optuna
    python benches/peers/search.py

Runs `cargo bench --bench search` and Optuna in one go. The regret is the smallest
value found minus the smallest there is. Optuna's sampler is its TPE as it comes.
Ends with exit code 1 unless the median regret is at most 1.1 times Optuna's on at
least four of the functions, never more than twice, and at most half of that of
drawing at random on all of them.
"""

import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

import optuna


def sphere(x):
    return sum(v * v for v in x)


def rosenbrock(x):
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def branin(x):
    a, b = x
    first = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return first**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


HARTMANN_WEIGHTS = [1.0, 1.2, 3.0, 3.2]
HARTMANN_SCALES = [
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
]
HARTMANN_PLACES = [
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
]


def hartmann6(x):
    total = 0.0
    for weight, scales, places in zip(HARTMANN_WEIGHTS, HARTMANN_SCALES, HARTMANN_PLACES):
        total += weight * math.exp(-sum(s * (v - p) ** 2 for s, v, p in zip(scales, x, places)))
    return -total


def ackley(x):
    n = len(x)
    first = -20 * math.exp(-0.2 * math.sqrt(sum(v * v for v in x) / n))
    return first - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / n) + 20 + math.e


def rastrigin(x):
    return 10 * len(x) + sum(v * v - 10 * math.cos(2 * math.pi * v) for v in x)


# Name, function, bounds of each dimension, smallest value.
FUNCTIONS = [
    ("sphere", sphere, [(-5.0, 5.0)] * 5, 0.0),
    ("rosenbrock", rosenbrock, [(-2.0, 2.0)] * 2, 0.0),
    ("branin", branin, [(-5.0, 10.0), (0.0, 15.0)], 0.39788735772973816),
    ("hartmann6", hartmann6, [(0.0, 1.0)] * 6, -3.322368011391339),
    ("ackley", ackley, [(-32.0, 32.0)] * 5, 0.0),
    ("rastrigin", rastrigin, [(-5.12, 5.12)] * 3, 0.0),
]
TRIALS = 200
SEEDS = 20


def regret(function, bounds, smallest, seed):
    def objective(trial):
        return function([trial.suggest_float(f"x{i}", *b) for i, b in enumerate(bounds)])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=TRIALS)
    return study.best_value - smallest


def main():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    root = pathlib.Path(__file__).resolve().parents[2]
    bench = ["cargo", "bench", "--locked", "--bench", "search", "--", "--json"]
    said = subprocess.run(bench, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    ours = json.loads(said)
    ratios, beaten = [], []
    began = time.perf_counter()
    print(f"{'function':<12} {'novic':>10} {'random':>10} {'optuna':>10}   novic / optuna")
    for name, function, bounds, smallest in FUNCTIONS:
        theirs = statistics.median(
            regret(function, bounds, smallest, seed) for seed in range(SEEDS)
        )
        tpe, random = ours[name]["tpe"], ours[name]["random"]
        ratios.append(tpe / theirs)
        beaten.append(tpe <= random / 2)
        print(f"{name:<12} {tpe:>10.4g} {random:>10.4g} {theirs:>10.4g}   {tpe / theirs:.2f}")
    print(f"Optuna {optuna.__version__} took {time.perf_counter() - began:.0f} s")
    close = sum(ratio <= 1.1 for ratio in ratios)
    good = close >= 4 and max(ratios) <= 2 and all(beaten)
    print(f"at most 1.1 times Optuna on {close} of {len(ratios)} (bar 4), at most {max(ratios):.2f} "
          f"times (bar 2), random beaten on {sum(beaten)}: {'good' if good else 'NOT GOOD'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
