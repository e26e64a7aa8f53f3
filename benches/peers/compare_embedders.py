"""Measures embedders of `novic` against PyTorch, open_clip, tokenizers and Pillow, in one run.

    compare_embedders.py [--rounds 5] [--seconds 4] [--threads 2] [--compile] [CASE ...]

All programs do the same work on the same weights and inputs, which the benchmark writes.
They take turns for a few seconds each, so that what else the machine does disturbs all
alike; the table shows the best round of each, in items per second of the wall clock and
of the processor, and the median of the rounds' ratios. Run it with the Python that has
torch (2.5 or later): `python -m pip install torch numpy safetensors tokenizers pillow`, and
`open_clip_torch` to measure against its own towers and tokenizer too.

Cases: text, image (both towers of ViT-B-16-SigLIP, f32, batch 32), prompts (the causal text
tower of CLIP ViT-B/16 on 128 noun prompts), tokenize (2048 of them, CLIP's byte pair
encoding), pictures (500 JPEGs of 500×375 pixels to the input of SigLIP).
"""

import argparse
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from compare_training import Peer

HERE = pathlib.Path(__file__).resolve().parent
PICTURES = 500
# How far check numbers may lie apart. Decoders of JPEG round differently.
TOLERANCE, TOLERANCE_PICTURES = 2e-3, 5e-3
CASES = {
    "text": ("towers.py", 32, "texts"),
    "image": ("towers.py", 32, "images"),
    "prompts": ("towers.py", 128, "texts"),
    "tokenize": ("tokenizing.py", 2048, "texts"),
    "pictures": ("preprocessing.py", PICTURES, "images"),
}


def build():
    """Path of the compiled benchmark."""
    command = ["cargo", "bench", "--bench", "embedders", "--no-run", "--message-format=short"]
    output = subprocess.run(command, cwd=HERE.parent.parent, check=True, stderr=subprocess.PIPE, text=True).stderr
    line = [line for line in output.splitlines() if "Executable" in line][-1]
    return HERE.parent.parent / line[line.rindex("(") + 1 : line.rindex(")")]


def commands(name, folder, options):
    """How the other programs of a case are called."""
    script = [sys.executable, HERE / CASES[name][0], folder]
    threads = f"--threads={options.threads}"
    if name == "pictures":
        return [[*script, threads]]
    found = [script] if name == "tokenize" else [[*script, name, threads]]
    if importlib.util.find_spec("open_clip"):
        found.append([*found[0], "--open-clip"])
    if options.compile and name != "tokenize":
        found += [[*command, "--compile"] for command in found]
    return found


def compare(name, bench, folder, options):
    _, items, unit = CASES[name]
    peers = [Peer([bench, f"serve={folder}", f"case={name}"], options.threads)]
    for command in commands(name, folder, options):
        peers.append(Peer(command, options.threads))
        peers[-1].greeting += " compiled" if "--compile" in command else ""
    for peer in peers:
        peer.warm_up(options.seconds)
    for _ in range(options.rounds):
        for peer in peers:
            time.sleep(0.3)
            peer.round()
    for peer in peers:
        peer.close()

    print(f"\n{name}: {options.threads} threads, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'':24} {unit + '/s':>10} {'per cpu-s':>10} {'ratio wall':>11} {'ratio cpu':>10}   agreed")
    for peer in peers:
        wall, cpu = (min(values) for values in zip(*peer.rounds))
        label = peer.greeting.replace(f" {name}", "")
        line = f"{label:24} {items / wall:10.1f} {items / max(cpu, 1e-9):10.1f}"
        if peer is not peers[0]:
            ratios = [[theirs[i] / max(ours[i], 1e-9) for theirs, ours in zip(peer.rounds, peers[0].rounds)] for i in (0, 1)]
            line += f" {statistics.median(ratios[0]):11.2f} {statistics.median(ratios[1]):10.2f}"
        else:
            line += " " * 22
        print(f"{line}   {peer.loss:.4f}", flush=True)
    tolerance = TOLERANCE_PICTURES if name == "pictures" else TOLERANCE
    tolerance *= max(1, abs(peers[0].loss))
    others = [peer.greeting for peer in peers[1:] if abs(peer.loss - peers[0].loss) > tolerance]
    if others:
        sys.exit(f"{name}: not the same work: {', '.join(others)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="length of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    parser.add_argument("--bench", type=pathlib.Path, help="the compiled benchmark instead of building it")
    options = parser.parse_args()
    for name in options.cases:
        if name not in CASES:
            parser.error(f"unknown case {name!r}: {', '.join(CASES)}")
    bench = options.bench or build()
    cases = options.cases or list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([bench, f"write={folder}"], check=True)
        if "pictures" in cases:
            subprocess.run([sys.executable, HERE / "preprocessing.py", folder, f"--write={PICTURES}"], check=True)
        for name in cases:
            compare(name, bench, folder, options)


if __name__ == "__main__":
    main()
