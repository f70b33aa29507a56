"""Draws docs/benchmarks.svg from the JSON: notes a second against connections, ours and the references."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.report import RESULTS
from tests.bench.throughput import EMPTY, NGINX_2, OURS, OURS_2, PGBENCH, SNAPPASS

IMAGE = RESULTS.with_suffix(".svg")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 420, 300, 52, 34, 40
CONNECTIONS = (1, 16, 64, 256)
COLOURS = {
    OURS: "#0072b2",
    OURS_2: "#d55e00",
    NGINX_2: "#009e73",
    EMPTY: "#999999",
    PGBENCH: "#000000",
    SNAPPASS: "#cc79a7",
}
PANELS = {
    "Puts a second": ("put, sealed by the client", "put"),
    "Reveals a second": ("reveal, sealed by the client", "reveal"),
}

Points = Mapping[str, Sequence[tuple[int, float]]]


def draw() -> None:
    results = json.loads(RESULTS.read_text())["throughput"]["results"]
    panels = {title: points_of(results, kinds) for title, kinds in PANELS.items()}
    IMAGE.write_text(svg(panels))


def points_of(results: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> Points:
    found: dict[str, list[tuple[int, float]]] = {}
    for one in results:
        if one["system"] in COLOURS and one["kind"] in kinds:
            found.setdefault(one["system"], []).append((one["connections"], one["rate"]))
    return {name: sorted(points) for name, points in found.items()}


def svg(panels: Mapping[str, Points]) -> str:
    names = [name for name in COLOURS if any(name in points for points in panels.values())]
    width, height = WIDTH * len(panels), HEIGHT + 24 * ((len(names) + 1) // 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    highest = max(rate for points in panels.values() for line in points.values() for _, rate in line)
    step = 10 ** math.floor(math.log10(highest))
    step = next(one for one in (step / 5, step / 2, step) if highest / one <= 10)
    top = math.ceil(highest / step) * step
    for number, (title, points) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">{_panel(title, points, top, step)}</g>')
    for number, name in enumerate(names):
        x, y = LEFT + number % 2 * WIDTH, HEIGHT + 16 + number // 2 * 22
        parts.append(f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{COLOURS[name]}"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, lines: Points, top: float, step: float) -> str:
    def x_of(connections: int) -> float:
        return LEFT + CONNECTIONS.index(connections) * (WIDTH - LEFT - 30) / (len(CONNECTIONS) - 1)

    def y_of(rate: float) -> float:
        return HEIGHT - BOTTOM - rate / top * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text x="{LEFT}" y="18" font-size="14">{title}</text>']
    for number in range(round(top / step) + 1):
        y = y_of(number * step)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:,.0f}</text>')
    for connections in CONNECTIONS:
        x = x_of(connections)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{connections}</text>'
        )
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">connections</text>')
    for name, points in lines.items():
        places = [(x_of(connections), y_of(rate)) for connections, rate in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, y in places]
    return "".join(parts)
