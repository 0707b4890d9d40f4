"""Lists that people write as CSV files: one rule for every command that takes one.

The first line names the columns. Text is UTF-8, with or without a byte order mark, or else Windows-1252. Cells are
separated by commas, semicolons or tabs, whichever the first line has most of, and quoted where they hold a separator, a
quotation mark or a line end. Space around a cell does not count. Empty lines and comments, which are lines that begin
with ``#``, are skipped. Every other line has as many cells as there are columns.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

DELIMITERS = ",;\t"
_NOT_CSV = "a quotation mark is left open or out of place, or a cell is too long"


@dataclass(frozen=True, slots=True)
class CsvLine:
    """One line of a list.

    Attributes
    ----------
    number : int
        Where it begins in the file, counted from 1.
    cells : mapping of str to str
        By column, without space around them; empty where there is a problem.
    problem : str
        Why the line cannot be used; "" where it can. No cell is quoted: it may hold a name.
    """

    number: int
    cells: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CsvList:
    """A list that was read.

    ``columns`` are its columns in their order, ``header`` is the number of the line that names them, and ``lines`` are
    those below it.
    """

    columns: tuple[str, ...]
    header: int
    lines: tuple[CsvLine, ...]


def read_csv_list(path: Path, known: Collection[str]) -> CsvList:
    """Read a list.

    Parameters
    ----------
    path : Path
        The CSV file.
    known : collection of str
        Names of columns in lower case, with ``_`` for a space. A column with such a name, in whatever case and with
        spaces instead of ``_``, gets that name; all others keep theirs.

    Returns
    -------
    CsvList
        Without columns where the file has no line.

    Raises
    ------
    DataError
        If the file cannot be read as text, or its first line is not CSV or does not give each column a name of its own.
        A line below the first that cannot be used raises nothing: it has a ``problem``.
    """
    records = _records(_text(path))
    header, names = next(records, (0, []))
    if header and not names:
        raise line_error(path, header, _NOT_CSV)
    columns = tuple(_column(name, known) for name in names)
    if len(set(columns)) < len(columns) or "" in columns:
        raise line_error(path, header, "every column needs a name of its own")
    return CsvList(columns, max(header, 1), tuple(_line(number, columns, cells) for number, cells in records))


def line_error(path: Path, line: int, problem: str) -> DataError:
    """The error of a list that cannot be used for one of its lines."""
    return DataError(f"{path}, line {line}: {problem}")


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise DataError(f"{path} is not text in UTF-8 or Windows-1252: save it as CSV in UTF-8")


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the line where each record begins, and its cells: none where it is not CSV."""
    lines = list(io.StringIO(text, newline=None))
    at, delimiter = 0, ""
    while at < len(lines):
        end = at + 1
        if lines[at].strip() and not lines[at].lstrip().startswith("#"):
            delimiter = delimiter or max(DELIMITERS, key=lambda each: len(_record(lines[at:], each)[0]))
            cells, length = _record((lines[number] for number in range(at, len(lines))), delimiter)
            end = at + length
            if not cells or any(cells):
                yield at + 1, cells
        at = end


def _record(lines: Iterable[str], delimiter: str) -> tuple[list[str], int]:
    """The cells of the first record of some lines, and its number of lines; no cells and 1 if it is not CSV."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return [cell.strip() for cell in next(reader)], reader.line_num
    except csv.Error:
        return [], 1


def _column(name: str, known: Collection[str]) -> str:
    plain = name.lower().replace(" ", "_")
    return plain if plain in known else name


def _line(number: int, columns: Sequence[str], cells: Sequence[str]) -> CsvLine:
    if not cells:
        return CsvLine(number, {}, _NOT_CSV)
    if len(cells) != len(columns):
        count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        return CsvLine(number, {}, f"there are {len(columns)} columns, but {count}")
    return CsvLine(number, dict(zip(columns, cells, strict=True)))
