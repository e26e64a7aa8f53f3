"""Measures the training step of `novic` against PyTorch, in one run.

    compare_training.py [--rounds 7] [--seconds 4] [--threads 2] [--compile] [CASE ...]

Both programs train the same model on the same batches. They take turns for a
few seconds each, so that what else the machine does disturbs both alike; the
table shows the best round of each, in samples per second of the wall clock and
of the processor, and the median of the rounds' ratios. Run it with the Python
that has torch (2.5 or later): `python -m pip install torch numpy`.

Cases: single (one target per sample), multi (three targets with weights),
quickstart (the model of experiments/embedded.toml).
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CASES = {
    "single": dict(targets=1),
    "multi": dict(targets=3),
    "quickstart": dict(
        hidden=192, layers=3, heads=6, prefix=2, batch=128, dim=256, vocab=6000, columns=6, dropout=0
    ),
}


def build():
    """Path of the compiled benchmark."""
    command = ["cargo", "bench", "--bench", "training", "--no-run", "--message-format=short"]
    output = subprocess.run(command, cwd=HERE.parent.parent, check=True, stderr=subprocess.PIPE, text=True).stderr
    line = [line for line in output.splitlines() if "Executable" in line][-1]
    return HERE.parent.parent / line[line.rindex("(") + 1 : line.rindex(")")]


class Peer:
    def __init__(self, command, threads):
        environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.greeting = self.process.stdout.readline().strip()
        self.rounds = []

    def steps(self, count):
        """Wall-clock and processor seconds of `count` steps."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.greeting.split()[0]} ended early")
        wall, cpu, self.loss = map(float, line.split())
        return wall, cpu

    def warm_up(self, seconds):
        """A first step, and how many steps a round has."""
        self.steps(1)
        wall, _ = self.steps(2)
        self.count = max(1, round(2 * seconds / wall))

    def round(self):
        wall, cpu = self.steps(self.count)
        self.rounds.append((wall / self.count, cpu / self.count))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, bench, options):
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        batches = f"{folder}/batches"
        arguments = [f"{key}={value}" for key, value in case.items()]
        subprocess.run([bench, *arguments, f"write={batches}"], check=True)
        flags = [
            f"--{key}={value}" for key, value in case.items() if key in ("hidden", "layers", "heads", "prefix", "dropout")
        ]
        torch = [sys.executable, HERE / "train_step.py", batches, f"--threads={options.threads}", *flags]
        peers = [Peer([bench, *arguments, "serve=1"], options.threads), Peer(torch, options.threads)]
        if options.compile:
            peers.append(Peer([*torch, "--compile"], options.threads))
        for peer in peers:
            peer.warm_up(options.seconds)
        for _ in range(options.rounds):
            for peer in peers:
                time.sleep(0.3)
                peer.round()
        for peer in peers:
            peer.close()

    samples = case.get("batch", 256)
    print(f"\n{name}: {options.threads} threads, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'':24} {'samples/s':>10} {'per cpu-s':>10} {'ratio wall':>11} {'ratio cpu':>10}   loss")
    for peer in peers:
        label = " ".join(peer.greeting.split()[:2]) if peer is not peers[0] else "novic"
        if peer is peers[-1] and options.compile:
            label += " compiled"
        wall, cpu = (min(values) for values in zip(*peer.rounds))
        line = f"{label:24} {samples / wall:10.1f} {samples / cpu:10.1f}"
        if peer is not peers[0]:
            ratios = [
                [theirs[i] / ours[i] for theirs, ours in zip(peer.rounds, peers[0].rounds)] for i in (0, 1)
            ]
            line += f" {statistics.median(ratios[0]):11.2f} {statistics.median(ratios[1]):10.2f}"
        else:
            line += " " * 22
        print(f"{line}   {peer.loss:.3f}")
    counts = {peer.greeting.split()[-1] for peer in peers}
    if len(counts) != 1:
        sys.exit(f"the models differ: {', '.join(sorted(counts))} parameters")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="length of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    parser.add_argument("--bench", help="the compiled benchmark instead of building it")
    options = parser.parse_args()
    for name in options.cases:
        if name not in CASES:
            parser.error(f"unknown case {name!r}: {', '.join(CASES)}")
    bench = options.bench or build()
    for name in options.cases or CASES:
        compare(name, bench, options)


if __name__ == "__main__":
    main()
