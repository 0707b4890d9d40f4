"""Labelled films that a CSV file lists: a site's own films, DICOM or pictures, wherever they lie.

The first line names the columns: ``path`` and ``label``, perhaps ``patient``, and any further ones, each of which
divides the films into subgroups::

    path,label,patient,scanner
    films/0001.dcm,NORMAL,p1,A
    films/0002.dcm,PNEUMONIA,p2,B
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.dataset import Picture, patient_of_name, scan_folder
from model.errors import DataError
from model.labels import Label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PATH, LABEL, PATIENT = "path", "label", "patient"


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the list; ``cells`` are in the order of the columns, without space around them."""

    line: int
    cells: dict[str, str]


def scan(source: Path) -> tuple[Picture, ...]:
    """List labelled films: of a folder with ``NORMAL/`` and ``PNEUMONIA/``, or of a CSV file.

    Parameters
    ----------
    source : Path
        The folder (see ``scan_folder``) or the CSV file (see ``read_listing``).

    Returns
    -------
    tuple of Picture
        Sorted by path.

    Raises
    ------
    DataError
        If there is neither, or it cannot be used.
    """
    return scan_folder(source) if source.is_dir() else read_listing(source)


def read_listing(listing: Path) -> tuple[Picture, ...]:
    """List the films that a CSV file names.

    UTF-8, with or without a byte order mark, separated by commas, quoted where needed. Paths are relative to the CSV
    file. Without the column ``patient`` a child is known by the file name of the public films, and a film of any other
    name is a child of its own. ``kind`` is the label, or both where a child has films of both.

    Parameters
    ----------
    listing : Path
        The CSV file.

    Returns
    -------
    tuple of Picture
        Sorted by path.

    Raises
    ------
    DataError
        Naming the line and the reason, if the file cannot be read, lacks a column, or a line names no file, no known
        label, no patient, a film that an earlier line names, or has more or fewer cells than there are columns. No
        cell is quoted: it may hold a name.
    """
    rows = list(_rows(listing))
    if not rows:
        raise DataError(f"{listing} lists no film")
    pictures = [_picture(listing, row) for row in rows]
    _check_paths(listing, rows, pictures)
    return tuple(sorted(_with_kinds(pictures) if PATIENT in rows[0].cells else pictures))


def _rows(listing: Path) -> Iterator[_Row]:
    """The lines below the first; empty ones are passed over."""
    try:
        with listing.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            columns = _columns(listing, next(reader, []))
            line = reader.line_num + 1
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) != len(columns):
                        raise _error(listing, line, f"there are {len(columns)} columns, but {len(cells)} cells")
                    yield _Row(line, dict(zip(columns, (cell.strip() for cell in cells), strict=True)))
                line = reader.line_num + 1
    except OSError as error:
        raise DataError(f"{listing} is no folder and cannot be read as a CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{listing} is not text in UTF-8: save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise _error(
            listing, reader.line_num, "a quotation mark is left open, out of place, or a cell is too long"
        ) from error


def _columns(listing: Path, names: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in names]
    columns = [name.lower() if name.lower() in {PATH, LABEL, PATIENT} else name for name in columns]
    if not {PATH, LABEL} <= set(columns):
        raise _error(listing, 1, "it must name the columns path and label, separated by commas")
    if len(set(columns)) < len(columns) or "" in columns:
        raise _error(listing, 1, "every column needs a name of its own")
    return columns


def _picture(listing: Path, row: _Row) -> Picture:
    cells = dict(row.cells)
    path = listing.parent / cells.pop(PATH)
    try:
        label = Label(cells.pop(LABEL).upper())
    except ValueError as error:
        raise _error(listing, row.line, f"the label must be {' or '.join(Label)}") from error
    known = patient_of_name(path.name)
    kind, patient = known or (label.value, row.cells[PATH])
    if PATIENT in cells:
        kind, patient = label.value, cells.pop(PATIENT)
        if not patient:
            raise _error(listing, row.line, "the patient is missing")
    return Picture(path, label, kind, patient, tuple(cells.items()))


def _check_paths(listing: Path, rows: Sequence[_Row], pictures: Sequence[Picture]) -> None:
    first: dict[Path, int] = {}
    for row, picture in zip(rows, pictures, strict=True):
        if not row.cells[PATH] or not _is_file(picture.path):
            raise _error(listing, row.line, "there is no such file (paths are relative to the CSV file)")
        if (earlier := first.setdefault(picture.path.resolve(), row.line)) != row.line:
            raise _error(listing, row.line, f"line {earlier} names the same film")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _with_kinds(pictures: Sequence[Picture]) -> list[Picture]:
    """The same pictures, all of one patient under one kind: kind and patient together are the child."""
    labels: dict[str, set[Label]] = defaultdict(set)
    for picture in pictures:
        labels[picture.patient].add(picture.label)
    return [
        Picture(
            picture.path, picture.label, "+".join(sorted(labels[picture.patient])), picture.patient, picture.subgroups
        )
        for picture in pictures
    ]


def _error(listing: Path, line: int, reason: str) -> DataError:
    return DataError(f"{listing}, line {line}: {reason}")
