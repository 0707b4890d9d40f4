"""``auscult sql``: the public views, for programs that read them."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common.output import AsCsv, AsJson, console, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.db.contract.views import VIEWS
from worker.errors import UsageError

app = Verbs(help="The SQL views that worklists and other programs read.")

VIEW_COLUMNS = {"view": "View", "meaning": "A row"}
COLUMNS = {"column": "Column", "type": "Type", "said": "Meaning"}
KEYS = ("view", "column", "type", "sqlite", "unit", "meaning", "null", "example")


@app.callback()
def group() -> None:
    """The SQL views that worklists and other programs read."""


@app.command("describe")
def describe(
    view: Annotated[str | None, typer.Argument(help="A view; without one all are listed.", show_default=False)] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Say of each column of a view what it means: type, unit, what NULL says, and an example.

    It needs no database. PostgreSQL has the same as comments of views and columns.
    """
    if view is None:
        listed = [{"view": found.name, "meaning": found.meaning} for found in VIEWS.values()]
        print_answer(
            listed,
            listed,
            lambda: print_table(listed, VIEW_COLUMNS),
            tuple(VIEW_COLUMNS),
            as_json=as_json,
            as_csv=as_csv,
        )
        return
    if view not in VIEWS:
        msg = f"there is no view {view}: one of {', '.join(VIEWS)}"
        raise UsageError(msg)
    found = VIEWS[view]
    rows = [
        {
            "view": found.name,
            "column": column.name,
            "type": str(column.kind),
            "sqlite": column.kind.in_sqlite,
            "unit": column.unit,
            "meaning": column.meaning,
            "null": column.null or "never",
            "example": column.example,
        }
        for column in found.columns
    ]

    def show() -> None:
        console().print(f"{found.name}: {found.meaning}")
        print_table([{**row, "said": _said(row)} for row in rows], COLUMNS)

    print_answer(rows, rows, show, KEYS, as_json=as_json, as_csv=as_csv)


def _said(row: dict[str, str]) -> list[str]:
    """Meaning, unit, NULL and example, a line each."""
    parts = (("", "meaning"), ("unit: ", "unit"), ("NULL: ", "null"), ("example: ", "example"))
    return [f"{word}{row[key]}" for word, key in parts if row[key]]
