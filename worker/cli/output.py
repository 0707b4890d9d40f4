"""How answers are printed: tables for people, one JSON document for scripts, words to stderr."""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_io.clean import clean_text
from worker.logs import configure_logging
from worker.settings import Settings, load_settings

NOTICE = "Not a medical device. Not for diagnosis."

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout and nothing else.")]

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
    """Where people read: as wide as the terminal, and never cut where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=200)


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
    """One JSON document to stdout; what UTF-8 cannot hold, as in the name of a file, by its escape."""
    text = json.dumps(document, indent=2, default=_plain, ensure_ascii=False)
    print(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str | None = None) -> None:
    """A table of these columns (key: heading); states and labels in their colour."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in columns))
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Name and value, a line each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts:
        table.add_row(name, _cell(value))
    console().print(table)


def _cell(value: Any) -> Text:
    """A value as text without markup: whatever stands in it, none of it is an order to the terminal or to rich."""
    text = printable(_words(value))
    return Text(text, style=STYLES.get(text, ""))


def _words(value: Any) -> str:
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
