# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as a table, as a picture, and compared with earlier ones."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

CALL = "call: "
OURS = "remainroot"
PEERS = ("fakeroot", "proot")
WORSE = 1.25
"""A ratio to bare that grew by this factor is reported."""


def _format(row: str, value: float) -> str:
    if row.startswith(CALL):
        return f"{value:.2f} us"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _ratio(by_way: dict[str, Any], way: str, base: str) -> float | None:
    if way not in by_way or base not in by_way or not by_way[base]["value"]:
        return None
    return float(by_way[way]["value"] / by_way[base]["value"])


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
        "time divided by that one's. A dash: it cannot. `bare` is real root, the rest has one user mapped.",
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
                cells.append(_format(row, one["value"]))
            else:
                cells.append(f"{_format(row, one['value'])} ({_format(row, one['min'])} to {_format(row, one['max'])})")
        for peer in peers:
            ratio = _ratio(by_way, OURS, peer)
            cells.append("-" if ratio is None else f"{ratio:.2f}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    failures = [
        f"- {name}, {row}: {reason}" for name, way in document["ways"].items() for row, reason in way["failed"].items()
    ]
    if failures:
        lines += ["", "What could not be done:", "", *failures]
    return "\n".join(lines) + "\n"


def svg(document: dict[str, Any]) -> str:
    """Time relative to bare, on a logarithmic scale: a dot for each way in each row."""
    colours = {OURS: "#c0392b", "fakeroot": "#2980b9", "proot": "#27ae60", "pseudo": "#8e44ad", "strace": "#7f8c8d"}
    rows = [row for row, by_way in document["rows"].items() if "bare" in by_way and OURS in by_way]
    ratios = {row: {way: _ratio(document["rows"][row], way, "bare") for way in colours} for row in rows}
    top = max((value for by_way in ratios.values() for value in by_way.values() if value), default=2)
    low, high = math.log10(0.5), math.log10(max(top, 2)) + 0.1
    left, right, height = 250, 900, 20

    def x(value: float) -> float:
        return left + (math.log10(max(value, 0.5)) - low) / (high - low) * (right - left)

    total = 50 + height * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 20}" height="{total + 10}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{right + 20}" height="{total + 10}" fill="white"/>',
    ]
    for number, (way, colour) in enumerate(colours.items()):
        out.append(f'<circle cx="{left + 120 * number}" cy="14" r="5" fill="{colour}"/>')
        out.append(f'<text x="{left + 10 + 120 * number}" y="18">{way}</text>')
    tick = 1.0
    while math.log10(tick) <= high:
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="38" y2="{total}" stroke="#ccc"/>')
        out.append(f'<text x="{x(tick):.1f}" y="34" text-anchor="middle" fill="#666">{tick:g}x</text>')
        tick *= 10 if tick >= 10 else (2 if tick < 2 else 5)
    for number, row in enumerate(rows):
        y = 52 + height * number
        out.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(row)}</text>')
        for way, colour in colours.items():
            value = ratios[row][way]
            if value is not None:
                title = f"<title>{escape(row)}, {way}: {value:.2f} x bare</title>"
                out.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{colour}" opacity="0.8">{title}</circle>')
    return "\n".join([*out, "</svg>", ""])


def compare(document: dict[str, Any], path: Path) -> int:
    """Say which ratios to bare are worse than those in the file at `path`; 1 if any is."""
    if not path.exists():
        sys.stdout.write(markdown(document))
        sys.stdout.write(f"\nThere is nothing to compare with: no {path}\n")
        return 0
    before = json.loads(path.read_text())
    worse = []
    for row, by_way in document["rows"].items():
        now, then = (_ratio(rows.get(row, {}), OURS, "bare") for rows in (document["rows"], before["rows"]))
        if now is None or then is None:
            continue
        mark = "worse" if now > then * WORSE else "better" if now * WORSE < then else ""
        value = _format(row, by_way[OURS]["value"])
        sys.stdout.write(f"{row:34} {value:>10} {now:8.2f} x bare, was {then:8.2f} {mark}\n")
        if mark == "worse":
            worse.append(row)
    sys.stdout.write(f"\nworse: {', '.join(worse) or 'nothing'}\n")
    return 1 if worse else 0
