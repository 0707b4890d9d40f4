"""The verb ``report``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.audited import audit_report
from worker.cli.common.new_file import check_new
from worker.cli.common.options import MOMENT
from worker.cli.common.output import complain, opened_once
from worker.database import open_database
from worker.errors import UsageError


def report(
    out: Annotated[Path, typer.Option(help="File for the page, HTML; one that exists is replaced with --force only.")],
    study: Annotated[str | None, typer.Argument(help="Study Instance UID, accession number or Patient ID.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Instead of a study: all that came from this time on, UTC.", **MOMENT)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Only those that came before this time; default: now.", **MOMENT)
    ] = None,
    side: Annotated[int | None, typer.Option(help="Which patient, where a study has several.", min=0)] = None,
    heat_map: Annotated[
        bool, typer.Option("--heat-map/--no-heat-map", help="Draw where the model looks on the film that decides.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a page to look at: about one study, or about the studies of a period.

    The page is one HTML file for screen and paper; it loads nothing and holds no script. That of a study has its films and
    its Patient ID, and no name. It is for you alone to read.
    """
    if (study is None) == (since is None):
        msg = "name one study, or a period by --since"
        raise UsageError(msg)
    if since is None and until is not None:
        msg = "--until needs --since"
        raise UsageError(msg)
    check_new(out, force=force)
    from dicom_io.durable import write_whole
    from worker.reports.make import page_of_period, page_of_study  # loads the network and what draws

    settings = opened_once()
    database = open_database(settings)
    if study is not None:
        made = page_of_study(settings, database, study, side, with_map=heat_map)
    else:
        assert since is not None
        made = page_of_period(database, since, until)
    audit_report(database, made.named)
    write_whole(out, [made.html.encode()])
    complain(f"written to {out}. {NOTICE}")
