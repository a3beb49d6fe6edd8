# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure remainroot beside its peers: python3 bench/run.py (as root, on Debian; `make bench`, `make bench-quick`).

Every way of running a command does the same work in turn, again and again, so that what else the machine does
befalls all of them alike. What is compared is the ratio between medians of one run (for single calls: between the best
of many short batches). `bare` is real root itself. All others run where one user and one group are mapped, as in a
rootless container, except that fakeroot is told not to try the real chown, which would only fail there.

Written: bench/results/results.json (all figures, machine, versions), results.md and results.svg, and the table in
README.md, which `python3 bench/report.py` makes again of results.json. With --quick, which takes less than two minutes,
nothing is written: ratios to bare are compared with those in results.json.
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
import time
from pathlib import Path
from typing import TYPE_CHECKING

import install
import report
import rows
from ways import BUILD, RESULTS, STRICT_USER, Way, installed, machine, prepare, say, ways

if TYPE_CHECKING:
    from collections.abc import Callable

CALL = report.CALL


def measure_calls(way: Way, place: rows.Place, batches: int) -> dict[str, float]:
    """Best time of each call in microseconds."""
    directory = Path(tempfile.mkdtemp(dir=place.scratch))
    out = way.run([f"{BUILD}/latency", str(directory), str(batches)], place.scratch)[1]
    shutil.rmtree(directory)
    return {CALL + words[0]: float(words[1]) for words in map(str.split, out.splitlines())}


class Measurements:
    """Figures by row and way: seconds of a piece of work, microseconds of a call."""

    def __init__(self, place: rows.Place) -> None:
        self.found: dict[str, dict[str, list[float]]] = {}
        self._place = place

    def calls(self, all_ways: list[Way], batches: int) -> None:
        for way in all_ways:
            if "calls" in way.failed or way.name == STRICT_USER:
                continue
            try:
                for name, value in measure_calls(way, self._place, batches).items():
                    self.found.setdefault(name, {}).setdefault(way.name, []).append(value)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                way.failed["calls"] = str(error)

    def row(self, row: rows.Row, all_ways: list[Way]) -> None:
        for way in all_ways:
            if row.name in way.failed or not row.serves(way):
                continue
            try:
                value = row.measure(way, self._place)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                way.failed[row.name] = str(error)
                say(f"  {way.name} cannot: {row.name}: {error}")
            else:
                self.found.setdefault(row.name, {}).setdefault(way.name, []).append(value)

    def summary(self) -> dict[str, dict[str, dict[str, float | int]]]:
        return {row: {way: _summary(row, values) for way, values in by.items()} for row, by in self.found.items()}


def _summary(row: str, values: list[float]) -> dict[str, float | int]:
    # Of a call each figure is already the best of many batches; the best of those is the one the machine left alone.
    value = min(values) if row.startswith(CALL) else statistics.median(values)
    return {"value": value, "min": min(values), "max": max(values), "n": len(values)}


def run(
    all_ways: list[Way],
    chosen: list[rows.Row],
    found: Measurements,
    options: argparse.Namespace,
    save: Callable[[], None],
) -> None:
    """Rounds of the short rows, then of the long ones, until there are enough or the time is up; one of each at least.

    `save` is called now and then, so that a run that is ended leaves what it has.
    """
    start = time.monotonic()

    def say_round(number: int, rounds: int, what: str) -> None:
        say(f"{what}, round {number + 1} of {rounds}, after {(time.monotonic() - start) / 60:.0f} minutes")

    def late(part: float) -> bool:
        return time.monotonic() - start > 60 * options.minutes * part

    long = [row for row in chosen if row.long]
    rounds = options.rounds or (2 if options.quick else 5)
    calls = re.search(options.rows, CALL) is not None
    for number in range(rounds if calls or len(long) < len(chosen) else 0):
        if number and late(0.4 if long else 1):
            break
        say_round(number, rounds, "short rows")
        if calls:
            found.calls(all_ways, 100 if options.quick else 300)
        for row in chosen:
            if not row.long:
                found.row(row, all_ways)
        save()
    for number in range(3 if long else 0):
        for row in long:
            if not (number and late(1)):
                say_round(number, 3, row.name)
                found.row(row, all_ways)
                save()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds and rows; compare with the results there are")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20, help="begin nothing after so many but first rounds")
    parser.add_argument("--rows", default="", help="only rows that this expression finds (calls are one row, `call: `)")
    parser.add_argument("--ways", default="", help="only ways that this expression finds (bare is always there)")
    parser.add_argument("--remainroot", help="this one, not one built from the tree")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where results go (README.md: if by default)")
    options = parser.parse_args()
    prepare()
    wanted = options.ways or ("remainroot$|fakeroot|proot" if options.quick else "")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        every = [*rows.ROWS, *install.ROWS]
        chosen = [row for row in every if re.search(options.rows, row.name) and not (row.long and options.quick)]
        all_ways = ways(installed(options.remainroot), scratch)
        all_ways = [way for way in all_ways if way.name == "bare" or re.search(wanted, way.name)]
        about = machine()
        if any(isinstance(row, install.Install) for row in chosen):
            install.root_tar()
        place = rows.Place(scratch, source=any("$hello" in row.before for row in chosen))
        found = Measurements(place)

        def document() -> dict[str, object]:
            ways_ = {way.name: {"failed": way.failed} for way in all_ways}
            return {"machine": about, "ways": ways_, "rows": found.summary()}

        def save() -> None:
            if not options.quick:
                options.output.mkdir(parents=True, exist_ok=True)
                (options.output / "results.json").write_text(json.dumps(document(), indent=1) + "\n")
                report.write(options.output)

        run(all_ways, chosen, found, options, save)
    if options.quick:
        return report.compare(document(), RESULTS / "results.json")
    sys.stdout.write((options.output / "results.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
