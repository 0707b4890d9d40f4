"""The 312 public DICOM files and how each is expected to end: ``tests/acceptance/expected.tsv``, a row for each file.

Columns: the file; ``pushed``, the status that C-STORE is answered with, or that it cannot be sent at all; ``ingested``,
the outcome, or that it is turned away at the door or skipped; the coded ``reason`` of both; ``film``, the size of the film, or the
reason why none can be made, gate or no gate; and the ``decoder`` that reads it.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.header.part10 import read_preface

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).parents[1] / "acceptance" / "expected.tsv"
CANNOT_BE_SENT, TURNED_AWAY, SKIPPED = "cannot be sent", "turned away", "skipped"


@dataclass(frozen=True, slots=True)
class Row:
    """What is expected of one file, or what was found."""

    file: str
    pushed: str
    ingested: str
    reason: str
    film: str
    decoder: str


def expected() -> dict[str, Row]:
    """The table, by file."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [Row(**{field.name: line[field.name] for field in fields(Row)}) for line in reader]
    return {row.file: row for row in rows}


def film_end(path: Path) -> tuple[str, str]:
    """Size of the film and name of the decoder, or why there is none and nothing."""
    try:
        film = film_of_dicom(path)
    except FilmError as error:
        return str(error.reason), ""
    rows, columns = film.pixels.shape
    return f"{rows}x{columns}", film.decoder


def data_set_sha256(path: Path) -> str:
    """The digest by which an image is known: of the data set without what stands before it."""
    with path.open("rb") as stream:
        read_preface(stream)
        return hashlib.sha256(stream.read()).hexdigest()


def differences(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """A line for each file whose end is another than expected."""
    return [
        f"{file}: expected {wanted.get(file)}, found {found.get(file)}"
        for file in sorted({*wanted, *found})
        if wanted.get(file) != found.get(file)
    ]
