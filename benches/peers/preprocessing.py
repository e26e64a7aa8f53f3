"""Decoding, resizing and normalising of JPEGs with Pillow and NumPy, to measure `novic`
against: as many processes as threads, each with its share of the pictures; pixels stay
where they are made.

    preprocessing.py FOLDER [--threads 2]
    preprocessing.py FOLDER --write 500

FOLDER/pictures holds the pictures; `--write` makes them: 500×375 pixels, quality 90, colour
at half the resolution.
"""

import argparse
import multiprocessing
import pathlib
import time

import numpy
from PIL import Image
from turns import serve

SIZE = (500, 375)
SIDE = 224


def write(folder, count):
    """Pictures with the spectrum of photos: detail on every scale, less the finer it is."""
    random = numpy.random.default_rng(1)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = numpy.zeros((SIZE[1], SIZE[0], 3))
        for scale, strength in [(8, 70), (25, 40), (80, 20), (250, 8), (500, 5)]:
            noise = random.uniform(0, 255, (max(scale * 3 // 4, 1), scale, 3)).astype("u1")
            noise = Image.fromarray(noise).resize(SIZE, Image.BICUBIC)
            picture += (numpy.asarray(noise, "f8") - 127) * (strength / 80)
        picture = Image.fromarray((picture + 127).clip(0, 255).astype("u1"))
        picture.save(folder / f"{number:04}.jpg", quality=90, subsampling="4:2:0")


def mean(path):
    """The transform of SigLIP, and what can be compared of its result."""
    picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.BICUBIC)
    pixels = (numpy.asarray(picture, "f4") / 255 - 0.5) / 0.5
    return float(numpy.ascontiguousarray(pixels.transpose(2, 0, 1)).mean())


def share(paths):
    before = time.process_time()
    return sum(map(mean, paths)), time.process_time() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=int, metavar="N")
    options = parser.parse_args()
    folder = options.folder / "pictures"
    if options.write:
        return write(folder, options.write)
    paths = sorted(folder.iterdir())
    spent = 0.0
    with multiprocessing.get_context("fork").Pool(options.threads) as pool:
        # Small enough shares that no process waits for another.
        shares = [paths[start : start + 10] for start in range(0, len(paths), 10)]

        def step():
            nonlocal spent
            total = 0.0
            for part, seconds in pool.imap_unordered(share, shares):
                total += part
                spent += seconds
            return total / len(paths)

        serve("Pillow pictures", step, lambda: time.process_time() + spent)


if __name__ == "__main__":
    main()
