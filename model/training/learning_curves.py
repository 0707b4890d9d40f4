"""The curves of a training run as a PNG, drawn after every epoch: whether the network learns or overfits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.training.run import EpochRecord

WIDTH, HEIGHT, MARGIN = 900, 640, 60
_INK, _GRID, _PAPER = "#222222", "#dddddd", "#ffffff"
_LOSS, _HELD_LOSS, _ACCURACY, _AUC = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Okabe and Ito's colours, which the colour-blind can tell apart."""


def draw_curves(history: Sequence[EpochRecord], epochs: int, path: Path) -> None:
    """Draw losses above, accuracy and AUC below, over the epochs.

    Parameters
    ----------
    history : sequence of EpochRecord
        The epochs so far; at least one.
    epochs : int
        How many the run will have.
    path : Path
        PNG file; replaced.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(picture)
    half = HEIGHT // 2
    losses = {"training loss": (_LOSS, [row.loss for row in history])}
    losses["validation loss"] = (_HELD_LOSS, [row.validation_loss for row in history])
    top = max(max(values) for _, values in losses.values())
    _panel(draw, (0, half), (0.0, top * 1.05 or 1.0), epochs, losses)
    shares = {"validation accuracy": (_ACCURACY, [row.validation_accuracy for row in history])}
    shares["validation AUC"] = (_AUC, [row.validation_auc for row in history])
    bottom = min(min(values) for _, values in shares.values())
    _panel(draw, (half, HEIGHT), (min(bottom, 0.9), 1.0), epochs, shares)
    picture.save(path, format="PNG")


def _panel(
    draw: ImageDraw.ImageDraw,
    rows: tuple[int, int],
    values: tuple[float, float],
    epochs: int,
    lines: dict[str, tuple[str, list[float]]],
) -> None:
    font = ImageFont.load_default(14)
    top, bottom, left, right = rows[0] + 30, rows[1] - 40, MARGIN, WIDTH - 20
    low, high = values

    def place(epoch: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * (epoch - 1) / max(epochs - 1, 1)
        return x, bottom - (bottom - top) * (value - low) / (high - low)

    for step in range(5):
        value = low + (high - low) * step / 4
        y = place(1, value)[1]
        draw.line((left, y, right, y), fill=_GRID)
        draw.text((left - 8, y), f"{value:.3f}", fill=_INK, font=font, anchor="rm")
    for epoch in sorted({1, *range(max(epochs // 6, 1), epochs + 1, max(epochs // 6, 1))}):
        draw.text((place(epoch, low)[0], bottom + 6), str(epoch), fill=_INK, font=font, anchor="ma")
    draw.text(((left + right) / 2, bottom + 22), "epoch", fill=_INK, font=font, anchor="ma")
    for number, (name, (colour, drawn)) in enumerate(lines.items()):
        points = [place(epoch, value) for epoch, value in enumerate(drawn, start=1)]
        if len(points) > 1:
            draw.line(points, fill=colour, width=3, joint="curve")
        x, y = points[-1]
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        text = f"{name} {drawn[-1]:.4f}"
        draw.text((left + 10 + number * 300, rows[0] + 8), text, fill=colour, font=font, anchor="la")
