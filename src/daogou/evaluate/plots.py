"""Plots as SVG text, drawn by hand so that a report opens anywhere and forever: no script, no font, no network.

Every plot takes plain numbers and returns one <svg> element with a title that says in words what is seen. Coordinates are in pixels.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

COLOURS = ("#0b6fb8", "#d1495b", "#2a9d5c", "#e08e0b", "#7a5ab5", "#0aa2a8", "#8a5a44", "#c2559d", "#5c6b73", "#a0a000")
"Told apart by most people with a colour weakness when neighbours; lines are labelled at their end as well."
INK, PALE, RULE = "#1f2933", "#66727f", "#e4e8ec"
WIDTH = 720
FONT = 'font-family="system-ui, sans-serif" font-size="13"'


class Bar(NamedTuple):
    """A value with its interval; `note` is printed after the name in pale ink; `muted` bars are grey (baseline, small groups)."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""
    muted: bool = False


def bars(rows: Sequence[Bar], title: str) -> str:
    """Horizontal bars from 0 with 95 % whiskers."""
    rows = [row for row in rows if math.isfinite(row.value)]
    if not rows:
        return ""
    left, right, step = 210, 70, 30
    top = max(max(row.high if math.isfinite(row.high) else row.value, row.value) for row in rows) or 1.0
    ticks = _ticks(top)
    scale = (WIDTH - left - right) / max(ticks[-1], top)
    height = len(rows) * step + 30
    parts = [_text(left + tick * scale, height - 8, _number(tick), anchor="middle", colour=PALE) for tick in ticks]
    parts += [_line(left + tick * scale, 4, left + tick * scale, height - 24, RULE) for tick in ticks]
    for n, row in enumerate(rows):
        y = 4 + n * step
        parts.append(
            f'<rect x="{left}" y="{y + 5}" width="{max(row.value, 0) * scale:.1f}" height="18" rx="3" fill="{"#b6c2cc" if row.muted else COLOURS[0]}"/>'
        )
        end = row.value
        if math.isfinite(row.low) and math.isfinite(row.high):
            end = max(end, row.high)
            a, b, m = left + max(row.low, 0) * scale, left + row.high * scale, y + 14
            parts += [_line(a, m, b, m, INK), _line(a, m - 4, a, m + 4, INK), _line(b, m - 4, b, m + 4, INK)]
        parts.append(_text(left - 10, y + 19, _short(row.name, 24 - min(len(row.note), 10)), anchor="end", note=row.note))
        parts.append(_text(left + end * scale + 7, y + 19, f"{row.value:.4f}", colour=INK))
    return _svg(height, title, parts)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], title: str, *, x_label: str, y_label: str, log_x: bool = False, percent: bool = False) -> str:
    """One line per name through its points (x, y); y starts at 0; names stand at the line's end."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    left, right, top, bottom, height = 60, 170, 14, 46, 320
    xs, ys = ([point[axis] for points in series.values() for point in points] for axis in (0, 1))
    fit = (lambda x: math.log10(max(x, 1))) if log_x else float
    x_low, x_high = fit(min(xs)), fit(max(xs))
    y_ticks = _ticks(max(ys) or 1.0)
    y_high = max(y_ticks[-1], *ys)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (fit(x) - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return left + across * (WIDTH - left - right), height - bottom - y / y_high * (height - top - bottom)

    parts = []
    for tick in y_ticks:
        y = at(xs[0], tick)[1]
        parts += [_line(left, y, WIDTH - right, y, RULE), _text(left - 8, y + 4, f"{tick:.0%}" if percent else _number(tick), anchor="end", colour=PALE)]
    for tick in _x_ticks(xs, log_x):
        x = at(tick, 0)[0]
        parts += [_line(x, height - bottom, x, height - bottom + 5, PALE), _text(x, height - bottom + 20, _number(tick), anchor="middle", colour=PALE)]
    parts.append(_text((left + WIDTH - right) / 2, height - 6, x_label, anchor="middle", colour=PALE))
    parts.append(_text(left, 10, y_label, colour=PALE))
    ends = []
    for n, (name, points) in enumerate(series.items()):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>')
        if len(points) <= 12:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{colour}"/>' for x, y in (at(*point) for point in points)]
        ends.append((at(*points[-1]), name, colour))
    for y, ((x, end), name, colour) in zip(_apart([end[0][1] for end in ends]), ends, strict=True):
        parts += [_line(x + 3, end, WIDTH - right + 14, y, colour, opacity=0.5), _text(WIDTH - right + 18, y + 4, _short(name, 20), colour=colour)]
    return _svg(height, title, parts)


class Point(NamedTuple):
    """One mark; `hollow` where it counts less, `marked` the one to look at."""

    x: float
    y: float
    hollow: bool = False
    marked: bool = False


def scatter(points: Sequence[Point], title: str, *, x_label: str, y_label: str, log_x: bool = False) -> str:
    """Points; y from the lowest to the highest, because what is compared lies close together."""
    points = [p for p in points if math.isfinite(p.y) and (p.x > 0 or not log_x)]
    if not points:
        return ""
    left, right, top, bottom, height = 70, 20, 14, 46, 240
    fit = math.log10 if log_x else float
    (x_low, x_high), (y_low, y_high) = ((min(values), max(values)) for values in ([fit(p.x) for p in points], [p.y for p in points]))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = ((v - low) / (high - low) if high > low else 0.5 for v, low, high in ((fit(x), x_low, x_high), (y, y_low, y_high)))
        return left + across * (WIDTH - left - right), height - bottom - up * (height - top - bottom)

    parts = []
    for y in dict.fromkeys((y_low, (y_low + y_high) / 2, y_high)):
        across = at(points[0].x, y)[1]
        parts += [_line(left, across, WIDTH - right, across, RULE), _text(left - 8, across + 4, f"{y:.4f}", anchor="end", colour=PALE)]
    for x in dict.fromkeys((min(p.x for p in points), max(p.x for p in points))):
        parts.append(_text(at(x, y_low)[0], height - bottom + 20, f"{x:.4g}", anchor="middle", colour=PALE))
    parts += [_text((left + WIDTH - right) / 2, height - 6, x_label, anchor="middle", colour=PALE), _text(left, 10, y_label, colour=PALE)]
    for p in sorted(points, key=lambda p: p.marked):
        x, y = at(p.x, p.y)
        colour = COLOURS[1] if p.marked else COLOURS[0]
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if p.marked else 4}" fill="{"none" if p.hollow else colour}" stroke="{colour}" fill-opacity="0.7"/>'
        )
    return _svg(height, title, parts)


def timeline(stretches: Sequence[tuple[str, str, float]], title: str) -> str:
    """A band of stretches (name, text below, share of the width), such as training, validation and test."""
    parts, x = [], 0.0
    for n, (name, below, share) in enumerate(stretches):
        last = n == len(stretches) - 1
        parts.append(
            f'<rect x="{x:.1f}" y="2" width="{share * WIDTH - 3:.1f}" height="30" rx="4" fill="{COLOURS[0] if last else ("#b6c2cc", "#e9b44c")[n % 2]}"/>'
        )
        parts += [_text(x + 10, 22, name, colour="#ffffff" if last else INK), _text(x + 2, 50, below, colour=PALE)]
        x += share * WIDTH
    return _svg(58, title, parts)


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    said = escape(title)
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{said}" {FONT}><title>{said}</title>\n{body}\n</svg>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK, note: str = "") -> str:
    more = f' <tspan fill="{PALE}">{escape(note)}</tspan>' if note else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}{more}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-opacity="{opacity}"/>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _ticks(high: float) -> list[float]:
    """From 0, four to six round numbers, the last at or just below `high` … or above it by less than a step."""
    rough = high / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [round(n * step, 12) for n in range(int(high / step + 0.999) + 1)]


def _x_ticks(xs: Sequence[float], log_x: bool) -> list[float]:
    if log_x:
        return [10.0**power for power in range(math.ceil(math.log10(max(min(xs), 1))), math.floor(math.log10(max(*xs, 1))) + 1)]
    return sorted(set(xs))


def _apart(ys: Sequence[float], gap: float = 16) -> list[float]:
    """Labels moved so that none covers another, in the order of the lines."""
    out = list(ys)
    order = sorted(range(len(ys)), key=lambda n: ys[n])
    for before, n in pairwise(order):
        out[n] = max(out[n], out[before] + gap)
    return out
