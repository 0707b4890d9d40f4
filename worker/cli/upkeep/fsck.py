"""The verb ``fsck``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common.output import AsCsv, AsJson, complain, opened_once, print_answer, print_table
from worker.database import open_database

COLUMNS = {"finding": "Finding", "count": "Found", "repaired": "Repaired", "sentence": "What to do"}


def fsck(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every original and film, and compare their digests.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired without losing anything.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Check that store, films and SQL are consistent: rows without files, files without rows, answers out of date.

    It may run beside everything else. It ends with 1 where something is left to do.
    """
    from worker.fsck.run import fsck as run

    settings = opened_once()
    report = run(settings, open_database(settings), deep=deep, repair=repair)
    rows = report.rows()

    def show() -> None:
        if rows:
            print_table(rows, COLUMNS)
        complain(
            f"looked at {report.images} images, {report.originals} originals, {report.films} films and "
            f"{report.studies} finished studies: {report.left} findings left"
        )

    print_answer(report.as_dict(), rows, show, tuple(COLUMNS), as_json=as_json, as_csv=as_csv)
    if report.left:
        raise typer.Exit(1)
