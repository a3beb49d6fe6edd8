# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether cost and memory grow: python3 bench/scale.py (as root, on Debian; `make bench-scale`; about half an hour).

- calls with 1 to 1,000 tasks alive, each with ids of its own;
- calls with 0 to 1,000,000 owners remembered, and the supervisor's memory, on each store;
- fork bombs of 5,000 tasks, each of which must find its own ids, and the supervisor's memory after each;
- 10,000,000 calls, and the supervisor's memory after each million;
- chown -R, find -ls and tar of a tree of 100,000 files, on each store, fakeroot and pseudo.

Written to bench/results/: scale.json, scale.md and a picture for each. --small does a hundredth of it, as a trial.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import plot
from rows import make_tree
from ways import BUILD, MAPPED, RESULTS, Way, installed, machine, prepare, say, ways

if TYPE_CHECKING:
    from typing import Any

    Table = list[list[float]]

STORES = ("memory", "durable", "sqlite")
MEMORY = "/dev/shm"


class Scale:
    """The benches; each returns what is to be written down."""

    def __init__(self, remainroot: str, scratch: Path, *, small: bool) -> None:
        self._remainroot = remainroot
        self._scratch = scratch
        self._part = 100 if small else 1

    def _run(self, store: str, *command: str) -> Table:
        """The numbers that one of our programs printed, run in a fresh directory with this store."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            words = [*MAPPED, self._remainroot, "--store", self._url(store, directory), "--", *command]
            place = Path(directory) / "place"
            place.mkdir()
            done = subprocess.run(words, cwd=place, stdout=subprocess.PIPE, text=True, check=True)
        rows = [line.split() for line in done.stdout.splitlines()]
        return [[float(word) for word in row if re.fullmatch(r"[\d.]+", word)] for row in rows]

    @staticmethod
    def _url(store: str, directory: str) -> str:
        return store if store in ("memory", "xattr") else f"{store}:{directory}/owners.db"

    # -- the benches

    def tasks(self) -> dict[str, Any]:
        """Microseconds of calls by tasks alive."""
        names = ("getuid", "stat", "stat-overridden", "chown", "setegid")
        curves: dict[str, Table] = {name: [] for name in names}
        for count in (1, 10, 100, 1000):
            say(f"{count} tasks alive")
            for name, (value,) in zip(names, self._run("memory", f"{BUILD}/crowd", "alive", str(count)), strict=True):
                curves[name].append([count, value])
        return {"title": "Calls by tasks alive", "x": "tasks", "y": "us", "log": True, "curves": curves}

    def owners(self) -> list[dict[str, Any]]:
        """Microseconds of calls, and the supervisor's memory, by owners remembered."""
        calls: dict[str, Table] = {}
        memory: dict[str, Table] = {}
        for store in STORES:
            most = (1_000_000 if store == "memory" else 100_000) // self._part
            counts = [0, *(10**power for power in range(3, 7) if 10**power <= most)]
            say(f"{most} owners, {store}")
            rows = self._run(store, f"{BUILD}/owners", *map(str, counts))
            memory[store] = [[row[0], row[1] / 1024] for row in rows]
            calls[f"{store}, stat beside"] = [[row[0], row[2]] for row in rows]
            calls[f"{store}, stat"] = [[row[0], row[3]] for row in rows if row[0]]
            calls[f"{store}, chown"] = [[row[0], row[4]] for row in rows if row[0]]
        return [
            {"title": "Calls by owners remembered", "x": "owners", "y": "us", "log": True, "curves": calls},
            {"title": "Supervisor's memory by owners remembered", "x": "owners", "y": "MiB", "log": True,
             "curves": memory},
        ]  # fmt: skip

    def bomb(self) -> dict[str, Any]:
        """The supervisor's memory after each of ten bombs; RuntimeError if a task found other ids than its own."""
        say("fork bombs")
        rows = self._run("memory", f"{BUILD}/crowd", "bomb", str(5000 // self._part), "10")
        failed = sum(row[1] for row in rows)
        if failed:
            raise RuntimeError(f"{failed:.0f} tasks did not find their own ids")
        curves = {"memory": [[row[0], row[2] / 1024] for row in rows]}
        title = f"Supervisor's memory after fork bombs of {5000 // self._part:,} tasks"
        return {"title": title, "x": "bombs", "y": "MiB", "log": False, "curves": curves}

    def soak(self) -> dict[str, Any]:
        """The supervisor's memory by millions of calls."""
        millions = max(10 // self._part, 1)
        say(f"{millions} million calls")
        curves = {"memory": [[row[0], row[1] / 1024] for row in
                             self._run("memory", f"{BUILD}/crowd", "soak", str(millions))]}  # fmt: skip
        return {"title": "Supervisor's memory by calls", "x": "million calls", "y": "MiB", "log": False,
                "curves": curves}  # fmt: skip

    def tree(self) -> dict[str, Any]:
        """Seconds of work on a tree by way: medians of three."""
        directories = 1000 // self._part
        tree = self._scratch / "tree"
        say(f"a tree of {directories * 100} files")
        make_tree(tree, directories)
        all_ways = {way.name: way for way in ways(self._remainroot, self._scratch)}
        stores = {name: self._url(name, str(self._scratch)) for name in ("memory", "durable", "xattr", "sqlite")}
        chosen = [
            all_ways["bare"],
            *(Way(name, [self._remainroot, "--store", url, "--"]) for name, url in stores.items()),
            all_ways["fakeroot"],
            all_ways["pseudo"],
        ]
        # One run has the tree given away, then looked at and packed with its owners, as a package is built.
        steps = {
            "chown -R 42:43": f"chown -R 42:43 {tree}",
            "find -ls": f"find {tree} -ls >/dev/null",
            "tar": f"tar -cf - -C {tree} . | cat >/dev/null",
        }
        script = "; ".join(f"a=$(date +%s%N); {step} || exit; b=$(date +%s%N); echo $a $b" for step in steps.values())
        found: dict[str, dict[str, list[float]]] = {step: {} for step in steps}
        for turn in range(3):
            for way in chosen:
                say(f"{way.name}, {turn + 1} of 3")
                lines = way.run(["sh", "-c", script], self._scratch)[1].splitlines()
                for step, line in zip(steps, lines, strict=True):
                    start, end = map(int, line.split())
                    found[step].setdefault(way.name, []).append((end - start) / 1e9)
                way.run(["chown", "-R", "0:0", str(tree)], self._scratch)
        seconds = {step: {way: statistics.median(times) for way, times in by.items()} for step, by in found.items()}
        return {"files": directories * 100, "seconds": seconds}


def markdown(document: dict[str, Any]) -> str:
    """What was found, as tables; beside the pictures."""
    lines = ["# How it scales", "", *(f"- {key}: {value}" for key, value in document["machine"].items()), ""]
    for name, figure in document["figures"].items():
        curves = figure["curves"]
        xs = sorted({x for points in curves.values() for x, _ in points})
        head = f"| {figure['y']} | " + " | ".join(f"{x:,.0f}" for x in xs) + " |"
        lines += [f"## {figure['title']}", "", f"![{figure['title']}](scale-{name}.svg)", "", head]
        lines.append("|---|" + "---|" * len(xs))
        for curve, points in curves.items():
            values = dict(map(tuple, points))  # type: ignore[arg-type]  # pairs
            lines.append(f"| {curve} | " + " | ".join(f"{values[x]:.1f}" if x in values else "" for x in xs) + " |")
        lines.append("")
    memory = document["figures"].get("memory")
    if memory:
        points = memory["curves"]["memory"]
        each = (points[-1][1] - points[0][1]) * (1 << 20) / points[-1][0]
        start = points[0][1]
        lines += [f"In memory: {start:.1f} MiB at start (30 at most), {each:.0f} bytes an owner (200 at most).", ""]
    tree = document.get("tree")
    if tree:
        names = list(next(iter(tree["seconds"].values())))
        lines += [f"## A tree of {tree['files']:,} files", "",
                  "Seconds, medians of three; the stores are remainroot's.", "",
                  "| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]  # fmt: skip
        for step, by_way in tree["seconds"].items():
            lines.append(f"| {step} | " + " | ".join(f"{by_way[name]:.2f}" for name in names) + " |")
        lines += ["", "![A tree](scale-tree.svg)", ""]
    return "\n".join(lines)


def write(document: dict[str, Any], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "scale.json").write_text(json.dumps(document, indent=1) + "\n")
    (directory / "scale.md").write_text(markdown(document))
    for name, figure in document["figures"].items():
        series = {curve: [(x, y) for x, y in points] for curve, points in figure["curves"].items()}
        (directory / f"scale-{name}.svg").write_text(
            plot.lines(figure["title"], figure["x"], figure["y"], series, log=figure["log"])
        )
    if "tree" in document:
        (directory / "scale-tree.svg").write_text(plot.bars("Seconds", document["tree"]["seconds"]))


def _measure(scale: Scale, name: str, document: dict[str, Any]) -> None:
    figures = document["figures"]
    if name == "tree":
        document["tree"] = scale.tree()
    elif name == "owners":
        figures["owners"], figures["memory"] = scale.owners()
    else:
        figures[name] = {"tasks": scale.tasks, "bomb": scale.bomb, "soak": scale.soak}[name]()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a hundredth of everything")
    parser.add_argument("--only", default="", help="tasks, owners, bomb, soak or tree: anew, beside what there is")
    parser.add_argument("--remainroot", help="this one, not one built from the tree")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    prepare()
    document: dict[str, Any] = {"figures": {}}
    if options.only and (options.output / "scale.json").exists():
        document = json.loads((options.output / "scale.json").read_text())
    document["machine"] = machine()
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=MEMORY))
    try:
        scale = Scale(installed(options.remainroot), scratch, small=options.small)
        for name in ("tasks", "owners", "bomb", "soak", "tree"):
            if options.only in ("", name):
                _measure(scale, name, document)
                write(document, options.output)
    finally:
        shutil.rmtree(scratch)
    sys.stdout.write(markdown(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
