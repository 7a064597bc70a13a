"""The ratios as a picture: one band for each row, one mark for each peer, on a logarithmic axis.

Written as SVG text, so that a plot needs no library and its differences can be read.
"""

from __future__ import annotations

from math import ceil, floor, log2
from xml.sax.saxutils import escape

from .measure import Results

_COLOURS = {
    "asyncio": "#3b6ea5",
    "uvloop": "#6aa84f",
    "trio": "#8e63b5",
    "gevent": "#c27c0e",
    "tonio": "#c0392b",
    "mt_asyncio": "#16877d",
    "threads": "#777777",
    "rtsync": "#111111",
    "before": "#d63384",
}
_LEFT, _RIGHT, _TOP, _BAND, _WIDTH = 235, 24, 66, 30, 900


def plot(results: Results) -> str:
    """An SVG document. Hollow marks are the variants on one worker."""
    marks = [
        (place, peer.name, ratio)
        for place, row in enumerate(results.rows)
        for peer in results.peers
        if peer.name != results.base
        and (ratio := results.ratio(row.name, peer.name)) is not None
        and ratio.median > 0
    ]
    ratios = [ratio.median for _, _, ratio in marks] or [1.0]
    low, high = floor(min(0, log2(min(ratios)))), ceil(max(1, log2(max(ratios))))
    bottom = _TOP + _BAND * len(results.rows)

    def x(ratio: float) -> float:
        share = (log2(ratio) - low) / (high - low)
        return _LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom + 46}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{bottom + 46}" fill="white"/>',
        f'<text x="12" y="20" font-size="14">Time / time of {escape(results.base)}: '
        "to the right of 1, rtsync is faster</text>",
    ]
    lines += _legend(results)
    for power in range(low, high + 1):
        at, heavy = x(2.0**power), power == 0
        lines.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}" '
            f'stroke="{"#111" if heavy else "#ddd"}" stroke-width="{1.5 if heavy else 1}"/>'
        )
        label = f"{2**power}" if power >= 0 else f"1/{2**-power}"
        lines.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for place, row in enumerate(results.rows):
        y = _TOP + _BAND * place
        if place % 2 == 0:
            lines.append(
                f'<rect x="0" y="{y}" width="{_WIDTH}" height="{_BAND}" fill="#000" opacity="0.035"/>'
            )
        lines.append(f'<text x="12" y="{y + _BAND / 2 + 4:.0f}">{escape(row.title)}</text>')
    for place, name, ratio in marks:
        y = _TOP + _BAND * (place + 0.5)
        colour, hollow = _style(name)
        lines.append(
            f'<line x1="{x(ratio.least):.1f}" x2="{x(ratio.greatest):.1f}" y1="{y:.0f}" y2="{y:.0f}" '
            f'stroke="{colour}" opacity="0.35" stroke-width="3"/>'
        )
        lines.append(
            f'<circle cx="{x(ratio.median):.1f}" cy="{y:.0f}" r="5" stroke="{colour}" '
            f'stroke-width="2" fill="{"white" if hollow else colour}" fill-opacity="0.85">'
            f"<title>{escape(name)}: {ratio.median:.2f}</title></circle>"
        )
    return "\n".join([*lines, "</svg>", ""])


def _style(peer: str) -> tuple[str, bool]:
    """The colour of a peer, and whether its mark is hollow."""
    module, _, workers = peer.partition("/")
    return _COLOURS.get(module, "#000000"), workers == "1"


def _legend(results: Results) -> list[str]:
    lines, at = [], 12
    shown = {key[1] for key in results.figures}
    for peer in results.peers:
        if peer.name == results.base or peer.name not in shown:
            continue
        colour, hollow = _style(peer.name)
        lines.append(
            f'<circle cx="{at + 6}" cy="42" r="5" stroke="{colour}" stroke-width="2" '
            f'fill="{"white" if hollow else colour}"/>'
        )
        lines.append(f'<text x="{at + 16}" y="46">{escape(peer.name)}</text>')
        at += 30 + 7 * len(peer.name)
    return lines
