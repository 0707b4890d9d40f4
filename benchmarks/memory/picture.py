"""Memory over the number of workers: the parts of the system, one upon the other."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.memory.tables import PARTS, WHOLE_MB, WHOLE_WORKERS, parts_of, totals
from benchmarks.soak.picture import COLOURS, FAINT, GRID, INK

if TYPE_CHECKING:
    from pathlib import Path

SIZE, LEFT, RIGHT, TOP, BOTTOM = (980, 520), 90, 250, 80, 70


def draw(path: Path, report: dict[str, Any]) -> None:
    """Write the picture of a report."""
    sheet = Image.new("RGB", SIZE, "white")
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    counts = sorted(map(int, report["workers"]))
    highest = _round_up(max(max(totals(report, str(count))) for count in counts))

    def at(workers: float, megabytes: float) -> tuple[float, float]:
        across = (workers - counts[0]) / max(1, counts[-1] - counts[0])
        up = (SIZE[1] - TOP - BOTTOM) * megabytes / highest
        return LEFT + across * (SIZE[0] - LEFT - RIGHT), SIZE[1] - BOTTOM - up

    pen.text((LEFT, 18), "Memory of all processes (PSS), at rest after films", INK, ImageFont.load_default(20))
    pen.text((LEFT, 48), f"{report['date']}, {report['machine']}", FAINT, small)
    below = dict.fromkeys(counts, 0.0)
    for number, part in enumerate(parts_of(report)):
        above = {count: below[count] + _median(report, count, part) for count in counts}
        edge = [at(count, above[count]) for count in counts]
        pen.polygon(edge + [at(count, below[count]) for count in reversed(counts)], COLOURS[number % len(COLOURS)])
        middle = at(counts[-1], (above[counts[-1]] + below[counts[-1]]) / 2)
        share = above[counts[-1]] - below[counts[-1]]
        pen.text((middle[0] + 12, middle[1]), f"{PARTS.get(part, part)}, {share:.0f} MB", INK, small, anchor="lm")
        below = above
    for tick in range(5):
        x, y = at(counts[0], highest * tick / 4)
        pen.line([(x, y), at(counts[-1], highest * tick / 4)], GRID)
        pen.text((x - 8, y), f"{highest * tick / 4:.0f} MB", FAINT, small, anchor="rm")
    for count in counts:
        x, y = at(count, 0)
        pen.text((x, y + 8), f"{count} worker{'s' if count > 1 else ''}", FAINT, small, anchor="ma")
        pen.text((x, at(count, below[count])[1] - 8), f"{below[count]:.0f} MB", INK, small, anchor="mb")
    if WHOLE_WORKERS in counts:
        x, y = at(WHOLE_WORKERS, WHOLE_MB)
        colour = "white" if below[WHOLE_WORKERS] > WHOLE_MB else INK
        pen.line([(x - 30, y), (x + 30, y)], colour, 3)
        pen.text((x + 36, y), f"target {WHOLE_MB} MB", colour, small, anchor="lm")
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _median(report: dict[str, Any], workers: int, part: str) -> float:
    return float(statistics.median(sum(one.get(part, [])) for one in report["workers"][str(workers)]))


def _round_up(value: float) -> float:
    return float(-(-value // 200) * 200)
