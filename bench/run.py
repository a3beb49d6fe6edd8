# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure remainroot beside its peers: python3 bench/run.py (as root, on Debian; `make bench`, `make bench-quick`).

Every way of running a command does the same work in turn, again and again, so that what else the machine does
befalls all of them alike. What is compared is the ratio between medians of one run (for single calls: between the best
of many short batches). `bare` is real root itself. All others run where one user and one group are mapped, as in a
rootless container, except that fakeroot is told not to try the real chown, which would only fail there.

Written to bench/results/: results.json (all figures, machine, versions), results.md, results.svg. With --quick, which
takes less than two minutes, nothing is written: ratios to bare are compared with those in results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
RESULTS = HERE / "results"
BUILD = TOP / "build" / "bench"
PACKAGES = ("fakeroot", "proot", "pseudo", "strace", "gcc", "libc6-dev", "make", "git", "python3-venv", "dpkg-dev")
LATENCY = "call: "


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- ways


class Way:
    """One way to be root: the words before a command, and the environment it needs."""

    def __init__(self, name: str, prefix: list[str], env: dict[str, str] | None = None, *, mapped: bool = True) -> None:
        self.name = name
        self.prefix = (["unshare", "--user", "--map-root-user"] if mapped else []) + prefix
        self.env = env or {}
        self.failed: dict[str, str] = {}

    def run(self, command: list[str], cwd: Path) -> tuple[float, str]:
        """Seconds that the command took, and what it printed."""
        start = time.perf_counter()
        done = subprocess.run(
            [*self.prefix, *command], cwd=cwd, env=os.environ | {"LC_ALL": "C"} | self.env,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        took = time.perf_counter() - start
        if done.returncode:
            last = done.stderr.strip().splitlines() or [""]
            raise RuntimeError(f"status {done.returncode}: {last[-1][:200]}")
        return took, done.stdout


def ways(remainroot: str, scratch: Path) -> list[Way]:
    state = scratch / "pseudo"
    state.mkdir()
    return [
        Way("bare", [], mapped=False),
        Way("remainroot", [remainroot, "--store", "memory", "--"]),
        Way("remainroot durable", [remainroot, "--store", f"durable:{scratch}/owners.db", "--"]),
        Way("remainroot pure", [remainroot, "--store", "memory", "--"], {"REMAINROOT_PURE": "1"}),
        Way("fakeroot", ["fakeroot", "--"], {"FAKEROOTDONTTRYCHOWN": "1"}),
        Way("proot", ["proot", "-0"]),
        Way("pseudo", ["pseudo"], {"PSEUDO_PREFIX": "/usr", "PSEUDO_LOCALSTATEDIR": str(state)}),
        Way("strace", ["strace", "-f", "-o", "/dev/null"]),
    ]


def installed(remainroot: str | None) -> str:
    """A remainroot installed as a user would have it, from this tree, unless one is named."""
    if remainroot:
        return remainroot
    venv = BUILD / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
    with tempfile.TemporaryDirectory() as copy:
        tree = shutil.copytree(
            TOP, Path(copy) / "tree", ignore=shutil.ignore_patterns(".git", "build", ".venv", "*.so", "bench", "tests")
        )
        subprocess.run([venv / "bin/pip", "install", "-q", "--disable-pip-version-check", tree], check=True)
    return str(venv / "bin/remainroot")


# ---------------------------------------------------------------- work


class Row:
    """One piece of work: a shell command with $tree, $spawn, ... set; `before` puts things back, and is not timed."""

    def __init__(self, name: str, command: str, before: str = "", *, quick: bool = True, times: int = 1) -> None:
        self.name = name
        self.command = command
        self.before = before
        self.quick = quick
        self.times = times
        """How often the command is run for one figure, which is of one of them."""


ROWS = [
    Row("start-up", "true", times=10),
    Row("300 fork+exec", "exec $build/spawn exec 300"),
    Row("2,000 threads", "exec $build/spawn thread 2000"),
    Row("8 processes, 20,000 stats each", "exec $build/spawn busy 8 20000"),
    Row("find, 20,000 files", "exec find $tree -uid 1"),
    Row("tar, 20,000 files", "tar -cf - -C $tree . | cat >/dev/null"),
    Row("ls -lR, 20,000 files", "ls -lR $tree >/dev/null"),
    Row("chown -R 0:0, 20,000 files", "chown -R 0:0 $tree"),
    Row("chown -R 42:42, 20,000 files", "chown -R 42:42 $tree2", "chown -R 0:0 $tree2"),
    Row("git clone, 2,000 files", "git clone -q --no-hardlinks $repo $work/clone", "rm -rf $work/clone", quick=False),
    Row(
        "configure and make hello", "cd $work/hello && ./configure -q >/dev/null 2>&1 && make -s -j2 >/dev/null 2>&1",
        "rm -rf $work/hello; cp -a $hello $work/hello", quick=False,
    ),
]  # fmt: skip


class Place:
    """The files that the rows work on."""

    def __init__(self, scratch: Path, *, source: bool) -> None:
        self.scratch = scratch
        self.env = {name: str(scratch / name) for name in ("tree", "tree2", "repo", "work", "hello")}
        self.env["build"] = str(BUILD)
        (scratch / "work").mkdir()
        for name in ("tree", "tree2"):
            self._tree(scratch / name)
        self._repository(scratch / "repo")
        if source:
            self._hello(scratch)

    @staticmethod
    def _tree(top: Path) -> None:
        """200 directories of 100 files."""
        for number in range(200):
            directory = top / f"{number % 10}" / f"{number}"
            directory.mkdir(parents=True)
            for file in range(100):
                (directory / f"file{file}").write_bytes(b"x" * (file * 7))

    @staticmethod
    def _repository(top: Path) -> None:
        for number in range(2000):
            path = top / f"{number % 40}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n" * 20)
        git = ["git", "-C", str(top), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "files"]):
            subprocess.run([*git, *words], check=True)

    @staticmethod
    def _hello(scratch: Path) -> None:
        """GNU hello's source, from Debian."""
        apt = scratch / "apt"
        (apt / "lists/partial").mkdir(parents=True)
        deb = [*Path("/etc/apt").glob("sources.list.d/*.sources"), *Path("/etc/apt").glob("sources.list")]
        sources = "\n\n".join(file.read_text() for file in deb if file.suffix == ".sources")
        (apt / "src.sources").write_text(re.sub(r"(?m)^Types:.*$", "Types: deb-src", sources))
        lines = "\n".join(file.read_text() for file in deb if file.suffix != ".sources")
        (apt / "src.list").write_text(re.sub(r"(?m)^deb ", "deb-src ", lines))
        options = ["-o", f"Dir::Etc::sourceparts={apt}", "-o", "Dir::Etc::sourcelist=/dev/null",
                   "-o", f"Dir::State::lists={apt}/lists"]  # fmt: skip
        subprocess.run(["apt-get", "-qq", *options, "update"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["apt-get", "-qq", *options, "source", "hello"], cwd=apt, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (found,) = (path for path in apt.glob("hello-*") if path.is_dir())
        found.rename(scratch / "hello")


def measure(row: Row, way: Way, place: Place) -> float:
    env = os.environ | place.env
    if row.before:
        subprocess.run(["sh", "-c", row.before], env=env, check=True)
    way_env, way.env = way.env, way.env | place.env
    try:
        words = row.command.split() if row.command.isalpha() else ["sh", "-c", row.command]
        return min(way.run(words, place.scratch)[0] for _ in range(row.times))
    finally:
        way.env = way_env


def measure_calls(way: Way, place: Place, batches: int) -> dict[str, float]:
    """Best time of each call in microseconds."""
    directory = Path(tempfile.mkdtemp(dir=place.scratch))
    out = way.run([f"{BUILD}/latency", str(directory), str(batches)], place.scratch)[1]
    shutil.rmtree(directory)
    return {LATENCY + words[0]: float(words[1]) for words in map(str.split, out.splitlines())}


def run(
    all_ways: list[Way], rows: list[Row], place: Place, rounds: int, batches: int
) -> dict[str, dict[str, list[float]]]:
    """Figures by row and way: seconds of a piece of work, microseconds of a call."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for way in all_ways:
            say(f"round {number + 1} of {rounds}: {way.name} (load {os.getloadavg()[0]:.1f})")
            try:
                for name, value in measure_calls(way, place, batches).items():
                    found.setdefault(name, {}).setdefault(way.name, []).append(value)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                way.failed["calls"] = str(error)
        for row in rows:
            for way in all_ways:
                if row.name in way.failed:
                    continue
                try:
                    value = measure(row, way, place)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    way.failed[row.name] = str(error)
                    say(f"  {way.name} cannot: {row.name}: {error}")
                else:
                    found.setdefault(row.name, {}).setdefault(way.name, []).append(value)
    return found


def summary(row: str, values: list[float]) -> dict[str, float | int]:
    # Of a call each figure is already the best of many batches; the best of those is the one the machine left alone.
    value = min(values) if row.startswith(LATENCY) else statistics.median(values)
    return {"value": value, "min": min(values), "max": max(values), "n": len(values)}


# ---------------------------------------------------------------- the whole


def machine() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "fakeroot", "proot", "pseudo", "strace", "python3"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return {
        "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else os.uname().machine}",
        "memory": f"{int(memory[1]) >> 20} GiB" if memory else "",
        "kernel": os.uname().release,
        "versions": versions.rstrip(", "),
        "date": time.strftime("%Y-%m-%d"),
    }


def prepare() -> None:
    ask = ["dpkg-query", "-W", "-f", "${db:Status-Status}"]
    status = {name: subprocess.run([*ask, name], capture_output=True, check=False).stdout for name in PACKAGES}
    missing = [name for name in PACKAGES if status[name] != b"installed"]
    if missing:
        say(f"installing {' '.join(missing)}")
        subprocess.run(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", "update"], check=True)
        subprocess.run(
            ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=600", "--no-install-recommends", "install", *missing],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("latency", "spawn"):
        subprocess.run(["gcc", "-O2", "-pthread", "-o", BUILD / name, HERE / f"{name}.c"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds and rows; compare with the results there are")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--rows", default="", help="only rows that this expression finds")
    parser.add_argument("--ways", default="", help="only ways that this expression finds (bare is always there)")
    parser.add_argument("--remainroot", help="this one, not one built from the tree")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if os.geteuid():
        parser.error("root is what the others are compared with: run this as root")
    prepare()
    wanted = options.ways or ("remainroot$|fakeroot|proot" if options.quick else "")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        rows = [row for row in ROWS if re.search(options.rows, row.name) and (row.quick or not options.quick)]
        every = ways(installed(options.remainroot), scratch)
        chosen = [way for way in every if way.name == "bare" or re.search(wanted, way.name)]
        load = os.getloadavg()[0]
        place = Place(scratch, source=any("$hello" in row.before for row in rows))
        found = run(chosen, rows, place, options.rounds or (2 if options.quick else 7), 100 if options.quick else 300)
    document = {
        "machine": machine() | {"load before": f"{load:.2f}"},
        "ways": {way.name: {"failed": way.failed} for way in chosen},
        "rows": {row: {way: summary(row, values) for way, values in by.items()} for row, by in found.items()},
    }
    if options.quick:
        return report.compare(document, RESULTS / "results.json")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.output / "results.md").write_text(report.markdown(document))
    (options.output / "results.svg").write_text(report.svg(document))
    sys.stdout.write(report.markdown(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
