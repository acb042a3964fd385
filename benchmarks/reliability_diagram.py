"""A reliability diagram as SVG: of the predictions that said p, how many came true."""

from __future__ import annotations

from collections.abc import Mapping

from services.monitor.domain.prediction.scoring import Score

_SIDE, _LEFT, _TOP, _COUNTS = 400, 60, 34, 90
_COLOURS = ("#1f5fa8", "#b05a1c", "#3a7d44")


def draw(scores: Mapping[str, Score], confidence: float) -> str:
    """The diagram of some methods; below it, how many predictions the first one made in each bin."""
    height = _TOP + _SIDE + 56 + _COUNTS + 44
    width = _LEFT + _SIDE + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_axes(confidence),
    ]
    for index, (label, one) in enumerate(scores.items()):
        parts += _curve(label, one, _COLOURS[index % len(_COLOURS)], index)
    parts += _histogram(next(iter(scores.values())))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(share: float) -> float:
    return round(_LEFT + share * _SIDE, 1)


def _y(share: float) -> float:
    return round(_TOP + (1 - share) * _SIDE, 1)


def _axes(confidence: float) -> list[str]:
    lines = [
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#666"/>',
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#999" stroke-dasharray="5 4"/>',
        f'<path d="M{_x(confidence)} {_y(0)}V{_y(1)}" stroke="#c33" stroke-dasharray="2 4"/>',
        f'<text x="{_x(confidence) + 4}" y="{_y(0) - 6}" fill="#c33">confidence {confidence:g}</text>',
        f'<text x="{_x(0.5)}" y="{_y(0) + 36}" text-anchor="middle">probability said</text>',
        f'<text transform="translate(16 {_y(0.5)}) rotate(-90)" text-anchor="middle">'
        "share that came true</text>",
    ]
    for tenth in range(0, 11, 2):
        share = tenth / 10
        lines.append(f'<text x="{_x(share)}" y="{_y(0) + 17}" text-anchor="middle">{share:g}</text>')
        lines.append(f'<text x="{_LEFT - 8}" y="{_y(share) + 4}" text-anchor="end">{share:g}</text>')
    return lines


def _curve(label: str, one: Score, colour: str, index: int) -> list[str]:
    cells = one.reliability()
    path = "L".join(f"{_x(cell.mean)} {_y(cell.observed)}" for cell in cells)
    dots = [
        f'<circle cx="{_x(cell.mean)}" cy="{_y(cell.observed)}" r="3.5" fill="{colour}"/>' for cell in cells
    ]
    name = f'<text x="{_LEFT + 10}" y="{_TOP + 20 + 17 * index}" fill="{colour}">{label}</text>'
    return [
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>' if cells else "",
        *dots,
        name,
    ]


def _histogram(one: Score) -> list[str]:
    cells = one.reliability()
    most = max((cell.count for cell in cells), default=1)
    foot = _TOP + _SIDE + 56 + _COUNTS
    bars = [f'<text x="{_x(0.5)}" y="{foot + 34}" text-anchor="middle">predictions made</text>']
    for cell in cells:
        high = round(_COUNTS * cell.count / most, 1)
        middle = _x((cell.low + cell.high) / 2)
        bars.append(
            f'<rect x="{_x(cell.low) + 2}" y="{round(foot - high, 1)}" width="{round(_SIDE / 10 - 4, 1)}" '
            f'height="{high}" fill="{_COLOURS[0]}"/>'
        )
        bars.append(
            f'<text x="{middle}" y="{foot + 15}" text-anchor="middle" font-size="10">{cell.count}</text>'
        )
    return bars
