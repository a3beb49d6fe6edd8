# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures: SVG, made by hand so that nothing need be installed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable

COLOURS = {
    "remainroot": "#c0392b", "fakeroot": "#2980b9", "proot": "#27ae60", "pseudo": "#8e44ad", "strace": "#7f8c8d",
}  # fmt: skip
_MORE = ("#c0392b", "#2980b9", "#27ae60", "#8e44ad", "#e67e22", "#16a085", "#34495e", "#7f8c8d")


def _head(width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def relative(ratios: dict[str, dict[str, float]]) -> str:
    """Time relative to bare, on a logarithmic scale: a dot for each way in each row."""
    top = max((value for by_way in ratios.values() for value in by_way.values()), default=2.0)
    low, high = math.log10(0.5), math.log10(max(top, 2)) + 0.1
    left, right, height = 250, 900, 20
    total = 50 + height * len(ratios)

    def x(value: float) -> float:
        return left + (math.log10(max(value, 0.5)) - low) / (high - low) * (right - left)

    out = _head(right + 20, total + 10)
    for number, (way, colour) in enumerate(COLOURS.items()):
        out.append(f'<circle cx="{left + 120 * number}" cy="14" r="5" fill="{colour}"/>')
        out.append(_text(left + 10 + 120 * number, 18, way))
    tick = 1.0
    while math.log10(tick) <= high:
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="38" y2="{total}" stroke="#ccc"/>')
        out.append(_text(x(tick), 34, f"{tick:g}x", 'text-anchor="middle" fill="#666"'))
        tick *= 10 if tick >= 10 else (2 if tick < 2 else 5)
    for number, (row, by_way) in enumerate(ratios.items()):
        y = 52 + height * number
        out.append(_text(left - 12, y + 4, row, 'text-anchor="end"'))
        for way, value in by_way.items():
            title = f"<title>{escape(row)}, {way}: {value:.2f} x bare</title>"
            out.append(
                f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{COLOURS[way]}" opacity="0.8">{title}</circle>'
            )
    return "\n".join([*out, "</svg>", ""])


def lines(title: str, across: str, up: str, series: dict[str, list[tuple[float, float]]], *, log: bool) -> str:
    """Curves over a common x axis, logarithmic if `log` (0 stands where 0.5 would); the y axis starts at 0."""
    left, right, top, bottom = 70, 640, 40, 340

    def scale(value: float) -> float:
        return math.log10(max(value, 0.5)) if log else value

    xs = sorted({x for points in series.values() for x, _ in points})
    high = max((y for points in series.values() for _, y in points), default=1.0) * 1.1 or 1.0
    low_x, high_x = scale(xs[0]), scale(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        part = (scale(x) - low_x) / (high_x - low_x or 1)
        return left + part * (right - left), bottom - y / high * (bottom - top)

    out = _head(right + 200, bottom + 50)
    out.append(_text(left, 20, title, 'font-weight="bold"'))
    _axes(out, xs, high, place, (left, right, bottom))
    out.append(_text((left + right) / 2, bottom + 40, across, 'text-anchor="middle"'))
    out.append(_text(12, top - 8, up))
    for number, (name, points) in enumerate(series.items()):
        colour = _MORE[number % len(_MORE)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(x, y) for x, y in points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points:
            px, py = place(x, y)
            label = f"<title>{x:g}: {y:g}</title>"
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}">{label}</circle>')
        out.append(f'<rect x="{right + 20}" y="{top + 20 * number}" width="10" height="10" fill="{colour}"/>')
        out.append(_text(right + 36, top + 10 + 20 * number, name))
    return "\n".join([*out, "</svg>", ""])


def _axes(
    out: list[str],
    xs: list[float],
    high: float,
    place: Callable[[float, float], tuple[float, float]],
    edges: tuple[int, int, int],
) -> None:
    left, right, bottom = edges
    step = 10 ** math.floor(math.log10(high))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1) if high / (step * part) <= 6.5 or part == 1)
    for number in range(int(high / step) + 1):
        y = place(0, number * step)[1]
        out.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(_text(left - 6, y + 4, f"{number * step:g}", 'text-anchor="end" fill="#666"'))
    for x in xs:
        px = place(x, 0)[0]
        out.append(_text(px, bottom + 18, f"{x:,.0f}", 'text-anchor="middle" fill="#666"'))


def bars(up: str, groups: dict[str, dict[str, float]]) -> str:
    """A group of bars for each name, a bar in it for each way."""
    left, top, bottom, width = 70, 40, 340, 18
    high = max((value for by in groups.values() for value in by.values()), default=1.0) * 1.1 or 1.0
    names = list(dict.fromkeys(name for by in groups.values() for name in by))
    wide = width * (len(names) + 2)
    out = _head(left + wide * len(groups) + 200, bottom + 50)
    right = left + wide * len(groups)
    out.append(_text(12, top - 8, up))
    _axes(out, [], high, lambda _, y: (0, bottom - y / high * (bottom - top)), (left, right, bottom))
    for number, (group, by) in enumerate(groups.items()):
        start = left + wide * number + width
        out.append(_text(start + wide / 2 - width, bottom + 20, group, 'text-anchor="middle"'))
        for name, value in by.items():
            tall = value / high * (bottom - top)
            x = start + width * names.index(name)
            label = f"<title>{escape(group)}, {escape(name)}: {value:.2f}</title>"
            colour = _MORE[names.index(name) % len(_MORE)]
            out.append(
                f'<rect x="{x}" y="{bottom - tall:.1f}" width="{width - 3}" height="{tall:.1f}" fill="{colour}">'
                f"{label}</rect>"
            )
    for number, name in enumerate(names):
        colour = _MORE[number % len(_MORE)]
        out.append(f'<rect x="{right + 20}" y="{top + 20 * number}" width="10" height="10" fill="{colour}"/>')
        out.append(_text(right + 36, top + 10 + 20 * number, name))
    return "\n".join([*out, "</svg>", ""])
