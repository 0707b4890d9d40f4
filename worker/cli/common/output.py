"""How answers are printed: tables for people, one JSON document or CSV for programs, messages to stderr."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_io.clean import clean_text
from worker.environment import name_forgotten
from worker.errors import UsageError
from worker.logs import configure_logging
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Categories of characters that control a terminal, or that UTF-8 cannot encode.
_CONTROLS = frozenset({"Cc", "Cf", "Cs"})


def _one_form(ctx: typer.Context, value: bool) -> bool:
    """Refuse --json together with --csv before any work is done."""
    if value and (ctx.params.get("as_json") or ctx.params.get("as_csv")):
        msg = "--json and --csv cannot be combined: give one of them"
        raise UsageError(msg)
    return value


AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.", callback=_one_form)
]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print the rows as CSV to stdout and nothing else.", callback=_one_form)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]

#: A spreadsheet runs a text that begins with one of these as a formula: such a cell gets an apostrophe before it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: A table breaks no cell of a column whose cells have at most this many characters, as IDENTITY_CONFLICT has,
UNBROKEN = 17
#: except the numbers of the hospital where the columns need more room than there is.
BREAKABLE = ("patient_id", "accession_number")
#: Shown for a missing value.
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
    """Read the settings and set up logging for a command that serves."""
    settings = load_settings(**overrides)
    configure_logging(settings.log, settings.log_format)
    name_forgotten()
    return settings


def opened_once(**overrides: Any) -> Settings:
    """Read the settings and set up logging for a command that ends by itself: it logs progress, warnings and errors."""
    settings = opened(**overrides)
    if "log" not in settings.model_fields_set:
        for name in ("worker", "dicom_io", "model"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("worker.progress").setLevel(logging.INFO)
    return settings


def opened_for_peers() -> Settings:
    """Read the settings and set up logging for a command that calls other systems.

    pynetdicom logs nothing, because the command reports each failure itself.
    """
    settings = opened_once()
    logging.getLogger("pynetdicom").propagate = False
    return settings


def console() -> Console:
    """Return the console for people: as wide as the terminal; without a terminal COLUMNS wide, by default 80."""
    # rich is loaded by what prints for people alone: scripts ask for JSON or CSV.
    from rich.console import Console

    return Console()


def complain(sentence: str) -> None:
    """Print one line to stderr."""
    print(f"auscult: {printable(sentence)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return text without the control characters that a header or a file name may hold."""
    return clean_text(text, len(text))


def print_json(document: Any) -> None:
    """Print one JSON document to stdout.

    Characters that control a terminal, or that UTF-8 cannot encode, as in a file's name, are written as escapes.
    """
    text = json.dumps(document, indent=2, default=_plain, ensure_ascii=False)
    print("\n".join(map(_escaped, text.split("\n"))))


def print_markdown(text: str) -> None:
    """Print Markdown without control characters: the text may come from another site."""
    from rich.markdown import Markdown

    shown = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in _CONTROLS)
    # Without hyperlinks each link shows its address.
    console().print(Markdown(shown, hyperlinks=False))


def _escaped(line: str) -> str:
    """Return a line of a JSON document with escapes for control characters; no value holds a line end."""
    if line.isascii() and line.isprintable():
        return line
    return "".join(json.dumps(char)[1:-1] if unicodedata.category(char) in _CONTROLS else char for char in line)


def print_csv(rows: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()) -> None:
    """Print rows as CSV (RFC 4180) to stdout; the first line has the keys of the JSON document.

    `keys` are written where there is no row. Cells that a spreadsheet would run as a formula get an apostrophe; `--json`
    has every text as it is.
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
    """Print an answer as JSON (the whole document), as CSV (its rows), or by `show` for people."""
    if as_json:
        print_json(document)
    elif as_csv:
        print_csv(rows, keys)
    else:
        show()


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an important change; an answer other than yes ends the command.

    Raises `UsageError` without a terminal to ask at.
    """
    if yes:
        complain(question)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = f"{question}: give --yes to confirm, as there is no terminal to ask at"
        raise UsageError(msg)
    if not typer.confirm(f"auscult: {printable(question)}. Go on?", err=True):
        complain("nothing was changed")
        raise typer.Exit(1)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str | None = None) -> None:
    """Print a table of the columns (key: heading) in which a row has a value; states and labels are coloured."""
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    shown = [key for key in columns if not rows or any(_words(row.get(key)) != NOTHING for row in rows)]
    cells = [[_lines(row.get(key)) for key in shown] for row in rows]
    for number, key in enumerate(shown):
        # A code that is broken reads as two codes: only long cells are broken.
        longest = max((cell_len(line.plain) for row in cells for line in row[number].split()), default=0)
        table.add_column(columns[key], overflow="fold", no_wrap=longest <= UNBROKEN and not key.endswith(BREAKABLE))
    for row in cells:
        table.add_row(*row)
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print a line with name and value for each fact."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    console().print(table)


def _cell(value: Any) -> Text:
    """Return a value as text in which neither the terminal nor rich finds anything to execute."""
    from rich.text import Text

    text = printable(_words(value))
    return Text(text, style=STYLES.get(text, ""))


def _lines(value: Any) -> Text:
    """Return a value as text, each member of a list on its own line."""
    from rich.text import Text

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
    """Return a cell of a CSV file: empty for no value, lists separated by semicolons, times and numbers as in JSON."""
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
