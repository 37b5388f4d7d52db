"""The results as a picture: bars on a logarithmic scale, since the targets are orders of magnitude apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from tests.bench.report import OURS, Report

WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 760, 110, 90, 22, 8, 44
OUR_COLOUR, THEIR_COLOUR, INK, GRID = "#1f6f5c", "#b9c0c7", "#1b1f23", "#e3e6e9"
PANELS = (
    ("CPU for a buffered answer, ms", "buffered", "cpu_ms"),
    ("CPU for a stream of 64 events, ms", "streamed", "cpu_ms"),
    ("CPU for a paced stream of 64 events, ms", "paced", "cpu_ms"),
    ("Added to the median answer of a provider that takes 50 ms, ms", "thinking", "added_latency_p50_ms"),
)


def draw(report: Report) -> str:
    """The picture, SVG."""
    parts, top = [], 40
    for title, case, name in PANELS:
        rows = [
            (each.name, report.results.value(each.name, f"{case}/{report.middle}", name)) for each in report.targets
        ]
        shown = sorted(
            (value, target) for target, value in rows if value is not None and value > 0 and target != "direct"
        )
        if shown:
            parts.append(_panel(title, [(target, value) for value, target in shown], top))
            top += HEAD + len(shown) * (BAR + GAP) + 26
    heading = f"One worker on one core, {report.middle} clients. Less is better; the scale is logarithmic."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{INK}"><rect width="{WIDTH}" height="{top}" fill="white"/>'
        f'<text x="16" y="24">{escape(heading)}</text>{"".join(parts)}</svg>\n'
    )


def _panel(title: str, rows: Sequence[tuple[str, float]], top: int) -> str:
    low = 10 ** math.floor(math.log10(min(value for _, value in rows)))
    high = 10 ** math.ceil(math.log10(max(value for _, value in rows) * 1.001))
    room, decades = WIDTH - LEFT - RIGHT, math.log10(high / low)

    def place(value: float) -> float:
        return LEFT + room * math.log10(value / low) / decades

    bottom = top + HEAD + len(rows) * (BAR + GAP)
    drawn = [f'<text x="16" y="{top + 18}" font-weight="600">{escape(title)}</text>']
    for step in range(round(decades) + 1):
        x, mark = place(low * 10**step), low * 10**step
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 6}" y2="{bottom}" stroke="{GRID}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{top + HEAD - 10}" font-size="11" text-anchor="middle">{mark:g}</text>')
    for at, (target, value) in enumerate(rows):
        y, colour = top + HEAD + at * (BAR + GAP), OUR_COLOUR if target == OURS else THEIR_COLOUR
        drawn.append(f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(target)}</text>')
        drawn.append(
            f'<rect x="{LEFT}" y="{y}" width="{max(1.0, place(value) - LEFT):.1f}" height="{BAR}" fill="{colour}"/>'
        )
        drawn.append(f'<text x="{place(value) + 6:.1f}" y="{y + 16}">{_plain(value)}</text>')
    return "".join(drawn)


def _plain(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
