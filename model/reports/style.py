"""The style sheet of every report, for light and dark screens."""

from __future__ import annotations

from importlib.resources import files


def style_sheet() -> str:
    """Read the style sheet.

    Returns
    -------
    str
        CSS; its colours are custom properties of ``:root``.
    """
    return files("model.reports").joinpath("templates", "style.css").read_text(encoding="utf-8")
