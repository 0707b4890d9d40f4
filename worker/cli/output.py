"""How answers are printed: tables for people, one JSON document or CSV for programs, words to stderr."""

from __future__ import annotations

import csv
import getpass
import io
import json
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_io.clean import clean_text
from worker.environment import name_forgotten
from worker.errors import UsageError
from worker.logs import configure_logging
from worker.settings import Settings, load_settings

#: Categories of characters that do something to a terminal, or that UTF-8 cannot hold.
_ORDERS = frozenset({"Cc", "Cf", "Cs"})

NOTICE = "Not a medical device. Not for diagnosis."


def _one_form(ctx: typer.Context, value: bool) -> bool:
    """Refuse both forms at once before any work is done."""
    if value and (ctx.params.get("as_json") or ctx.params.get("as_csv")):
        msg = "--json and --csv are two forms of one answer: give one of them"
        raise UsageError(msg)
    return value


AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.", callback=_one_form)
]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print the rows as CSV to stdout and nothing else.", callback=_one_form)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to the question whether to go on.")]

#: A spreadsheet takes a text that begins so for a formula: such a cell gets an apostrophe before it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: A table breaks no cell of a column whose cells are all as short as this, as IDENTITY_CONFLICT is ...
UNBROKEN = 17
#: ... but what the hospital numbers gives way where there is no room for all.
GIVES_WAY = ("patient_id", "accession_number")
#: What stands where there is nothing.
NOTHING = "-"

STYLES = {
    "PNEUMONIA": "bold red",
    "NORMAL": "green",
    "FINAL": "bold",
    "FAILED": "bold red",
    "BAD_INPUT": "red",
    "NOT_APPLICABLE": "yellow",
    "WITHHELD": "bold yellow",
    "PROVISIONAL": "cyan",
    "RECEIVING": "cyan",
    "QUEUED": "cyan",
    "OK": "green",
}


def opened(**overrides: Any) -> Settings:
    """Read the settings and set up logging: the first line of every command that serves."""
    settings = load_settings(**overrides)
    configure_logging(settings.log, settings.log_format)
    name_forgotten()
    return settings


def opened_once(**overrides: Any) -> Settings:
    """The same for a command that ends by itself: it says how far it is, and the rest only when it goes wrong."""
    settings = opened(**overrides)
    if "log" not in settings.model_fields_set:
        for name in ("worker", "dicom_io", "model"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("worker.progress").setLevel(logging.INFO)
    return settings


def console() -> Console:
    """Where people read: as wide as the terminal, 80 columns (or COLUMNS) where there is none."""
    return Console()


def login() -> str:
    """The user's login name, or number where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def complain(sentence: str) -> None:
    """One line to stderr."""
    print(f"auscult: {printable(sentence)}", file=sys.stderr)


def printable(text: str) -> str:
    """Text that only shows: a header or a file name may hold what moves a terminal's cursor or turns its letters."""
    return clean_text(text, len(text))


def print_json(document: Any) -> None:
    """One JSON document to stdout, the same values for every reader.

    What UTF-8 cannot hold, as in the name of a file, and what would be an order to a terminal stands there by its escape.
    """
    text = json.dumps(document, indent=2, default=_plain, ensure_ascii=False)
    print("\n".join(map(_escaped, text.split("\n"))))


def print_markdown(text: str) -> None:
    """A text with headings, lists and tables, which may be a stranger's."""
    from rich.markdown import Markdown

    shown = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in _ORDERS)
    # Without hyperlinks: a link is shown by where it leads.
    console().print(Markdown(shown, hyperlinks=False))


def _escaped(line: str) -> str:
    """A line of a JSON document, in which no value has a line end of its own."""
    if line.isascii() and line.isprintable():
        return line
    return "".join(json.dumps(char)[1:-1] if unicodedata.category(char) in _ORDERS else char for char in line)


def print_csv(rows: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()) -> None:
    """Rows as CSV (RFC 4180) to stdout: the first line has the keys, which are those of the JSON document.

    `keys` are those to write where there is no row. Cells that a spreadsheet would take for a formula get an apostrophe; `--json` has every text as it is.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    keys = list(dict.fromkeys(key for row in rows for key in row)) or keys
    if keys:
        writer.writerow(keys)
    writer.writerows([_field(row.get(key)) for key in keys] for row in rows)
    sys.stdout.write(text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))


def print_answer(
    document: Any,
    rows: Sequence[Mapping[str, Any]],
    show: Callable[[], None],
    keys: Sequence[str] = (),
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """One answer in the form that was asked for: the whole document, its rows, or what `show` prints for people."""
    if as_json:
        print_json(document)
    elif as_csv:
        print_csv(rows, keys)
    else:
        show()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be missed is changed; ends the command where the answer is not yes.

    Raises `UsageError` where nobody can be asked, since neither end of the question is a terminal.
    """
    if yes:
        complain(question)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = f"{question}: give --yes to confirm that, since there is no terminal to ask at"
        raise UsageError(msg)
    if not typer.confirm(f"auscult: {printable(question)}. Go on?", err=True):
        complain("nothing was changed")
        raise typer.Exit(1)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str | None = None) -> None:
    """A table of these columns (key: heading) as far as a row has anything there; states and labels in their colour."""
    table = Table(
        title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    shown = [key for key in columns if not rows or any(_words(row.get(key)) != NOTHING for row in rows)]
    cells = [[_lines(row.get(key)) for key in shown] for row in rows]
    for number, key in enumerate(shown):
        # A code broken in two reads as two: only what is long gives way.
        longest = max((cell_len(line.plain) for row in cells for line in row[number].split()), default=0)
        table.add_column(columns[key], overflow="fold", no_wrap=longest <= UNBROKEN and not key.endswith(GIVES_WAY))
    for row in cells:
        table.add_row(*row)
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Name and value, a line each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    console().print(table)


def _cell(value: Any) -> Text:
    """A value as text without markup: whatever stands in it, none of it is an order to the terminal or to rich."""
    text = printable(_words(value))
    return Text(text, style=STYLES.get(text, ""))


def _lines(value: Any) -> Text:
    """The same, with each member of a list on a line of its own."""
    if isinstance(value, list | tuple) and value:
        return Text("\n").join(map(_cell, value))
    return _cell(value)


def _words(value: Any) -> str:
    if value is None or value in ("", [], ()):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{_in_utc(value):%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _field(value: Any) -> str:
    """A cell of a CSV file: empty for nothing, lists apart by semicolons, times and numbers as in JSON."""
    if value is None:
        return ""
    if isinstance(value, bool | Mapping):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return ";".join(map(_field, value))
    text = printable(str(_plain(value)))
    return f"'{text}" if text.startswith(FORMULA) else text


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _in_utc(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
