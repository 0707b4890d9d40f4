"""Labelled films that a CSV file lists: a site's own films, DICOM or pictures, wherever they are.

The first line names the columns: ``path`` and ``label``, optionally ``patient``, and any further ones, each of which
divides the films into subgroups. ``blinded`` says whether the label was given without sight of the network's answer::

    path,label,patient,scanner,blinded
    films/0001.dcm,NORMAL,p1,A,yes
    films/0002.dcm,PNEUMONIA,p2,B,yes
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from model.data.csv_list import CsvLine, line_error, read_csv_list
from model.data.dataset import Picture, patient_of_name, scan_folder
from model.errors import DataError
from model.labels import Label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATH, LABEL, PATIENT, BLINDED = "path", "label", "patient", "blinded"


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

    The file is read by the rule of ``csv_list``. Paths are relative to the file. Without the column ``patient`` a child
    is known by the file name of the public films, and a film of any other name is a child of its own. ``kind`` is the
    label, or both labels where a child has films of both.

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
    found = read_csv_list(listing, (PATH, LABEL, PATIENT, BLINDED))
    if not {PATH, LABEL} <= set(found.columns):
        raise line_error(listing, found.header, f"it must name the columns {PATH} and {LABEL}")
    if not found.lines:
        raise DataError(f"{listing} lists no film")
    pictures = [_picture(listing, line) for line in found.lines]
    _check_paths(listing, found.lines, pictures)
    return tuple(sorted(_with_kinds(pictures) if PATIENT in found.columns else pictures))


def is_blinded_by_list(pictures: Sequence[Picture]) -> bool:
    """Whether the list says of every film that its label was given without sight of the network's answer.

    Parameters
    ----------
    pictures : sequence of Picture
        Films of a list, or of a folder, which does not say so.

    Returns
    -------
    bool
        False where there is no column ``blinded``.

    Raises
    ------
    DataError
        If the column says "no" of a film, or neither "yes" nor "no". A reader who sees the answer tends to agree with
        it, so such labels would confirm whatever the network says.
    """
    cells = [cell.lower() for picture in pictures for name, cell in picture.subgroups if name == BLINDED]
    if unclear := sum(cell not in {"yes", "no"} for cell in cells):
        raise DataError(f"the column {BLINDED} must say yes or no; of {unclear} films it says neither")
    if seen := cells.count("no"):
        raise DataError(
            f"the labels of {seen} of {len(pictures)} films were given with the network's answer in sight ({BLINDED}: no): "
            "leave these films out"
        )
    return bool(cells)


def _picture(listing: Path, line: CsvLine) -> Picture:
    if line.problem:
        raise line_error(listing, line.number, line.problem)
    cells = dict(line.cells)
    path = listing.parent / cells.pop(PATH)
    try:
        label = Label(cells.pop(LABEL).upper())
    except ValueError as error:
        raise line_error(listing, line.number, f"the label must be {' or '.join(Label)}") from error
    known = patient_of_name(path.name)
    kind, patient = known or (label.value, line.cells[PATH])
    if PATIENT in cells:
        kind, patient = label.value, cells.pop(PATIENT)
        if not patient:
            raise line_error(listing, line.number, "the patient is missing")
    return Picture(path, label, kind, patient, tuple(cells.items()))


def _check_paths(listing: Path, lines: Sequence[CsvLine], pictures: Sequence[Picture]) -> None:
    first: dict[Path, int] = {}
    for line, picture in zip(lines, pictures, strict=True):
        if not line.cells[PATH] or not _is_file(picture.path):
            raise line_error(listing, line.number, "there is no such file (paths are relative to the CSV file)")
        if (earlier := first.setdefault(picture.path.resolve(), line.number)) != line.number:
            raise line_error(listing, line.number, f"line {earlier} names the same film")


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
