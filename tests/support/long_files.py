"""Which files of tests take longest: they are begun first."""

from __future__ import annotations

from pathlib import Path

#: Seconds of one core and the file, one a line; what `--durations=0` says, rounded. A wrong number costs balance alone.
TABLE = Path(__file__).with_name("long_files.txt")


def long_files() -> dict[str, float]:
    """The seconds of the files that take longest."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {path: float(seconds) for seconds, path in (line.split() for line in lines)}
