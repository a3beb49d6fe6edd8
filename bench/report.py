# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as tables, as a picture, and compared with earlier ones.

`python3 bench/report.py` makes bench/results/results.md, results.svg and the table in README.md again, of
bench/results/results.json.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import plot

if TYPE_CHECKING:
    from typing import Any

TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "bench" / "results"
CALL = "call: "
OURS = "remainroot"
PEERS = ("fakeroot", "proot", "pseudo", "strace")
WORSE = 1.25
"""A ratio to bare that grew by this factor is reported."""

FAKED = ("chown", "fchown", "mknod", "stat-overridden", "fstat-overridden", "statx-overridden", "getuid", "setuid",
         "setresuid", "setgroups")  # fmt: skip
INSTALLS = tuple(f"apt-get install {name}" for name in ("hello", "openssh-server", "postgresql", "16 packages"))
TARGETS = [
    *((CALL + name, "fakeroot", 1.3) for name in FAKED),
    *((CALL + name, "proot", 0.6) for name in FAKED),
    *((CALL + name, "fakeroot", 1.0) for name in ("stat", "stat-relative", "lstat", "fstat", "statx")),
    *((CALL + name, "bare", 1.02) for name in ("read", "write", "read-64k", "write-64k", "openat")),
    ("300 fork+exec", "bare", 1.1),
    ("find, 20,000 files", "fakeroot", 1.0),
    ("tar, 20,000 files", "fakeroot", 1.0),
    ("chown -R 42:42, 20,000 files", "fakeroot", 1.0),
    ("configure and make hello", "bare", 1.05),
    *((row, "bare", 1.05) for row in INSTALLS),
    *((row, "fakeroot", 1.0) for row in INSTALLS),
    ("start-up", "fakeroot", 2.0),
]
"""(row, way, how much of that way's time remainroot is to take at most)."""

SHOWN = (
    "start-up", "300 fork+exec", "call: stat", "call: stat-overridden", "call: chown", "find, 20,000 files",
    "tar, 20,000 files", "chown -R 42:42, 20,000 files", "git clone, 2,000 files", "configure and make hello",
    *INSTALLS[1:],
)  # fmt: skip
"""The rows in README.md."""
_BEGIN = "<!-- Made by bench/report.py. -->\n"
_END = "<!-- End of what bench/report.py makes. -->\n"


def form(row: str, value: float) -> str:
    if row.startswith(CALL):
        return f"{value:.2f} us"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def ratio(by_way: dict[str, Any], way: str, base: str) -> float | None:
    if way not in by_way or base not in by_way or not by_way[base]["value"]:
        return None
    return float(by_way[way]["value"] / by_way[base]["value"])


def _ratio_cell(by_way: dict[str, Any], base: str) -> str:
    value = ratio(by_way, OURS, base)
    return "-" if value is None else f"{value:.2f}"


def markdown(document: dict[str, Any]) -> str:
    """All rows: each way's value and spread, and what remainroot takes of bare's time and of each peer's."""
    names = list(document["ways"])
    peers = [name for name in ("bare", *PEERS) if name in names]
    lines = [
        "# Measurements",
        "",
        *(f"- {key}: {value}" for key, value in document["machine"].items()),
        "",
        "Calls: best of many short batches. Other rows: median, and in brackets the range. `x` columns: remainroot's",
        "time divided by that one's. A dash: it cannot, or is not asked. `bare` is real root, the rest has one user",
        "mapped. `remainroot` keeps owners in memory, as fakeroot does; `durable` on the files and in a database;",
        "`pure` is without its compiled half, `kernel` is `--engine kernel`; `strict` is with `--strict`, which asks",
        "nothing of root, and everything of a `strict user`; `filter alone` is real root under a seccomp filter of one",
        "instruction, which allows everything.",
        "",
        "| row | " + " | ".join(names) + " | " + " | ".join(f"x {peer}" for peer in peers) + " |",
        "|---|" + "---|" * (len(names) + len(peers)),
    ]
    for row, by_way in document["rows"].items():
        cells = []
        for name in names:
            one = by_way.get(name)
            if one is None:
                cells.append("-")
            elif row.startswith(CALL):
                cells.append(form(row, one["value"]))
            else:
                cells.append(f"{form(row, one['value'])} ({form(row, one['min'])} to {form(row, one['max'])})")
        cells += [_ratio_cell(by_way, peer) for peer in peers]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", *targets(document)]
    failures = [
        f"- {name}, {row}: {reason}" for name, way in document["ways"].items() for row, reason in way["failed"].items()
    ]
    if failures:
        lines += ["", "## What could not be done", "", *failures]
    return "\n".join(lines) + "\n"


def targets(document: dict[str, Any]) -> list[str]:
    """What was aimed at, and what came of it."""
    lines = [
        "## Targets",
        "",
        "remainroot's time divided by another's. fakeroot asks nobody for ids: they are variables of the preloaded",
        "library, which no system call can match; and it sends a chown off without waiting for it. Any filter makes",
        "every call as much slower as the column `filter alone` shows. `hand-over` is a byte to another process on the",
        "same processor and back: no call that another process answers can take less.",
        "",
        "| row | against | at most | measured | |",
        "|---|---|---|---|---|",
    ]
    for row, base, most in TARGETS:
        value = ratio(document["rows"].get(row, {}), OURS, base)
        if value is not None:
            lines.append(f"| {row} | {base} | {most:.2f} | {value:.2f} | {'met' if value <= most else 'missed'} |")
    return lines


def readme(document: dict[str, Any], text: str) -> str:
    """The text of README.md with the table between the marks made anew."""
    names = [name for name in ("bare", OURS, "fakeroot", "proot", "pseudo") if name in document["ways"]]
    about = document["machine"]
    lines = [
        f"{about['cpu']}, Linux {about['kernel']}, load {about['load before']} before, {about['date']}; all rows,",
        "versions and spread are in [bench/results/results.md](bench/results/results.md).",
        "",
        "| | " + " | ".join("real root" if name == "bare" else name for name in names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for row in SHOWN:
        by_way = document["rows"].get(row)
        if by_way:
            cells = [form(row, by_way[name]["value"]) if name in by_way else "-" for name in names]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", "![Time relative to real root](bench/results/results.svg)"]
    made = _BEGIN + "\n" + "\n".join(lines) + "\n\n" + _END
    return re.sub(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", lambda _: made, text, flags=re.DOTALL)


def write(directory: Path) -> None:
    """What is made of results.json in `directory`; README.md too, if that is where results belong."""
    document = json.loads((directory / "results.json").read_text())
    (directory / "results.md").write_text(markdown(document))
    (directory / "results.svg").write_text(plot.relative(relative(document)))
    if directory.resolve() == RESULTS:
        page = TOP / "README.md"
        page.write_text(readme(document, page.read_text()))


def relative(document: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Time relative to bare, by row and way."""
    found: dict[str, dict[str, float]] = {}
    for row, by_way in document["rows"].items():
        ratios = {way: ratio(by_way, way, "bare") for way in (OURS, *PEERS)}
        if ratios[OURS] is not None:
            found[row] = {way: value for way, value in ratios.items() if value is not None}
    return found


def compare(document: dict[str, Any], path: Path) -> int:
    """Say which ratios to bare are worse than those in the file at `path`; 1 if any is."""
    if not path.exists():
        sys.stdout.write(markdown(document))
        sys.stdout.write(f"\nThere is nothing to compare with: no {path}\n")
        return 0
    before = json.loads(path.read_text())
    worse = []
    for row, by_way in document["rows"].items():
        now, then = (ratio(rows.get(row, {}), OURS, "bare") for rows in (document["rows"], before["rows"]))
        if now is None or then is None:
            continue
        mark = "worse" if now > then * WORSE else "better" if now * WORSE < then else ""
        value = form(row, by_way[OURS]["value"])
        sys.stdout.write(f"{row:34} {value:>10} {now:8.2f} x bare, was {then:8.2f} {mark}\n")
        if mark == "worse":
            worse.append(row)
    sys.stdout.write(f"\nworse: {', '.join(worse) or 'nothing'}\n")
    return 1 if worse else 0


if __name__ == "__main__":
    write(RESULTS)
