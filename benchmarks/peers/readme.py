"""README.md's table of performance: written from the committed result of ``bench peers``, and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.peers.tables import readme

RESULT = Path(__file__).with_name("peers.json")
README = ROOT / "README.md"
BEGIN, END = "<!-- performance: written by `python3 dev.py bench peers --readme` -->\n", "<!-- end of performance -->\n"


def written(text: str) -> str:
    """The text with the table of the committed result between its two marks.

    Raises
    ------
    ValueError
        If a mark is missing.
    """
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{README.name} has no line {BEGIN.strip()} or no {END.strip()}")
    table = readme(json.loads(RESULT.read_text(encoding="utf-8"))) if RESULT.exists() else "No run is on record yet.\n"
    return f"{before}{BEGIN}{table}{END}{after}"


def write() -> None:
    """Write the table."""
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
