#!/usr/bin/env python3
"""dependencies.py TARGET LICENCES SBOM: what the binary for TARGET is made of.

LICENCES gets the texts of the licences of all crates, each text once with the
crates that come under it. SBOM gets the bill of materials (CycloneDX 1.5). Both
are made of what cargo knows, so they are right for Cargo.lock as it is.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TEXT = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def crates(target):
    """Packages that the binary contains, without those that only build it or test it."""
    call = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (root,) = (p["id"] for p in packages.values() if p["name"] == "novic")
    edges, todo = {}, [root]
    while todo:
        crate = todo.pop()
        if crate in edges:
            continue
        macro = any("proc-macro" in target["kind"] for target in packages[crate]["targets"])
        edges[crate] = [] if macro else sorted(
            dependency["pkg"]
            for dependency in nodes[crate]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        todo.extend(edges[crate])
    return root, packages, edges


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def expression(package):
    return (package["license"] or "").replace("/", " OR ").replace("  ", " ")


def licences(root, packages, edges):
    """Each text once, below the names of its crates."""
    texts, without = defaultdict(list), []
    for crate in sorted(edges, key=lambda crate: reference(packages[crate])):
        package = packages[crate]
        if crate == root or package["source"] is None:
            continue
        folder = Path(package["manifest_path"]).parent
        files = sorted(path for path in folder.iterdir() if TEXT.match(path.name) and path.is_file())
        name = f"{package['name']} {package['version']} ({expression(package)})"
        for path in files:
            texts[path.read_text(errors="replace").strip()].append(name)
        if not files:
            without.append(name)
    parts = ["Crates whose packages name their licence without its text:\n  " + "\n  ".join(without)]
    rule = "-" * 80
    for text, names in sorted(texts.items(), key=lambda item: item[1]):
        parts.append("\n".join(names) + f"\n\n{text}")
    return f"\n{rule}\n\n".join(parts) + "\n"


def bill(root, packages, edges):
    def component(package, kind):
        found = {
            "type": kind,
            "bom-ref": reference(package),
            "name": package["name"],
            "version": package["version"],
            "purl": reference(package),
        }
        if expression(package):
            found["licenses"] = [{"expression": expression(package)}]
        if package["repository"]:
            found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return found

    used = sorted(edges, key=lambda crate: reference(packages[crate]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], "application")},
        "components": [component(packages[c], "library") for c in used if c != root],
        "dependencies": [
            {
                "ref": reference(packages[crate]),
                "dependsOn": [reference(packages[other]) for other in edges[crate]],
            }
            for crate in used
        ],
    }


def main():
    target, licence_file, bill_file = sys.argv[1:]
    found = crates(target)
    Path(licence_file).write_text(licences(*found))
    Path(bill_file).write_text(json.dumps(bill(*found), indent=1) + "\n")


if __name__ == "__main__":
    main()
