#!/usr/bin/env python3
"""Replays the final stages of docker/Dockerfile in a clean Debian root.

    sudo tests/tools/replay_container.py target/release/novic [demo|cpu]

Needs root and debootstrap (Debian package `debootstrap`), and a network for
Debian's packages. The stage that compiles is replaced by the program that is
named; everything behind it is done as the file says: COPY, RUN, ENV, USER,
WORKDIR, ENTRYPOINT and CMD. Then the image is used as docs/container.md shows
it: by a user without rights, with a project that is mounted, and, for `demo`,
as the server.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")


def stages(text):
    """Name of each stage with what it is made from and its steps."""
    found = {}
    lines = text.replace("\\\n", " ").splitlines()
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            steps = found[name] = (base, [])
        elif word and not word.startswith("#") and found:
            steps[1].append((word, rest.strip()))
    return found


def chain(found, target):
    """What the target is made from in the end, and all of its steps."""
    base, steps = found[target]
    if base in found:
        first, before = chain(found, base)
        return first, before + steps
    return base, steps


class Image:
    def __init__(self, root, program):
        self.root, self.program = root, program
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.user, self.folder, self.entry, self.words = "0", "/", [], []

    def command(self, words, user=None):
        where = "mkdir -p -- \"$0\" 2>/dev/null; cd -- \"$0\" && exec \"$@\""
        user = user or self.user
        return [
            "chroot", f"--userspec={user}:{user}", str(self.root),
            "/usr/bin/env", "-i", *(f"{k}={v}" for k, v in self.environment.items()),
            "/bin/sh", "-c", where, self.folder, *words,
        ]  # fmt: skip

    def step(self, word, rest):
        if word == "COPY":
            *sources, target = rest.split()
            made = {"/out/novic": self.program, "/out/licences": REPOSITORY / "extras/release/licences"}
            source = made.get(sources[-1], REPOSITORY / sources[-1])
            target = self.root / target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        elif word == "RUN":
            subprocess.run(self.command(["/bin/sh", "-c", rest]), check=True, stdout=sys.stderr)
        elif word == "ENV":
            self.environment.update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "USER":
            self.user = rest
        elif word == "WORKDIR":
            self.folder = rest
        elif word == "ENTRYPOINT":
            self.entry = json.loads(rest)
        elif word == "CMD":
            self.words = json.loads(rest)
        elif word != "EXPOSE":
            raise SystemExit(f"{word} is a step that is not known here")


def expect(what, holds):
    print(f"{'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        raise SystemExit(1)


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    program = Path(sys.argv[1]).resolve()
    target = sys.argv[2] if len(sys.argv) == 3 else "demo"
    base, steps = chain(stages((REPOSITORY / "docker/Dockerfile").read_text()), target)
    suite = base.removeprefix("debian:").removesuffix("-slim")
    expect(f"{target} is made from a Debian ({base})", base.startswith("debian:"))
    with tempfile.TemporaryDirectory(prefix="novic-root-") as folder:
        root = Path(folder) / "root"
        bootstrap = ["debootstrap", "--variant=minbase", suite, str(root), MIRROR]
        subprocess.run(bootstrap, check=True, stdout=subprocess.DEVNULL)
        image = Image(root, program)
        if Path("/etc/resolv.conf").exists():
            shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        for word, rest in steps:
            print(f"step: {word} {rest}")
            image.step(word, rest)
        use(image, target)


def use(image, target):
    expect("it does not run as root", image.user not in ("0", "root"))
    run = lambda words, user=None: subprocess.run(
        image.command(image.entry + words, user), capture_output=True, text=True
    )
    help_text = run(["--help"])
    expect("the program starts", help_text.returncode == 0 and "Usage" in help_text.stdout)
    picture = image.root / "project/fox.png"
    shutil.copy(REPOSITORY / "extras/demo/fox.png", picture)
    os.chmod(picture, 0o644)
    labels = run(["infer", "--json", "fox.png"])
    expect("it classifies a picture", labels.returncode == 0 and "predictions" in labels.stdout)
    # As `--user` of docs/container.md does it, with a folder of that user.
    os.chown(image.root / "project", 4321, 4321)
    made = run(["embed", "texts", "openclip:novic/drawings", "fox", "--out", "fox.bin"], "4321")
    owner = (image.root / "project/fox.bin").stat().st_uid if made.returncode == 0 else None
    expect("what another user makes belongs to that user", owner == 4321)
    if target != "demo":
        return
    words = image.entry + image.words + ["--port", "8499"]
    server = subprocess.Popen(image.command(words), stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        expect("the demo listens for others", "0.0.0.0:8499" in line)
        request = urllib.request.Request(
            "http://127.0.0.1:8499/v1/classify", picture.read_bytes(), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            expect("the demo answers", json.load(answer)[0]["predictions"])
    finally:
        server.terminate()
    expect("the demo ends when it is told to", server.wait(30) == 0)


if __name__ == "__main__":
    started = time.time()
    main()
    print(f"replayed in {time.time() - started:.0f} s")
