"""``auscult agreement``: how often readers agreed with the answers, and their labels as a list of films."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_io.durable import write_whole
from model.notice import NOTICE
from worker.cli.common.audited import audit_shown
from worker.cli.common.options import MOMENT
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_table
from worker.cli.common.verbs import Verbs
from worker.database import open_database
from worker.db.read.assessments import agreement, labelled_films
from worker.db.schema.views import AGREEMENT
from worker.errors import UsageError
from worker.stores import store_of

app = Verbs(help="How often readers agreed with the answers.")

COLUMNS = {
    "by_what": "By",
    "model": "Model",
    "day": "Day",
    "station_name": "Station",
    "band": "Band",
    "n": "Studies",
    "share": "Agreed",
    "share_low": "95 % from",
    "share_high": "to",
}
#: The columns of the list; those behind `blinded` divide the films into subgroups.
LISTED = ("path", "label", "patient", "blinded", "manufacturer", "device_model", "station_name", "answer", "band")


@app.callback()
def group() -> None:
    """How often readers agreed with the answers."""


@app.command("show")
def agreement_show(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Show how often readers agreed with each model, in all and by day, device and band, with 95 % intervals."""
    database = open_database(opened_once())
    with database.reads() as session:
        rows = agreement(session)

    def show() -> None:
        print_table([{**row, "model": f"{row['model_name']}-{row['model_version']}"} for row in rows], COLUMNS)
        console().print(NOTICE)

    print_answer(rows, rows, show, AGREEMENT.c.keys(), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("no verdict has been given yet")


@app.command("export")
def agreement_export(
    file: Annotated[Path, typer.Argument(help="The CSV file to write.", show_default=False)],
    disagreements: Annotated[
        bool, typer.Option("--disagreements", help="Only films whose answer the reader denied.")
    ] = False,
    blinded: Annotated[
        bool, typer.Option("--blinded", help="Only labels that were given without sight of the answer.")
    ] = False,
    since: Annotated[datetime | None, typer.Option(help="Only verdicts from this time on, UTC.", **MOMENT)] = None,
) -> None:
    """Write the readers' labels as a list of films that `auscult model evaluate` and `model calibrate` take.

    A film of a study with several is listed only where the reader says NORMAL, as PNEUMONIA does not say on which film.
    Measure and calibrate on all verdicts: disagreements alone say nothing of how good a model is.
    """
    settings = opened_once()
    database = open_database(settings)
    with database.reads() as session:
        found = labelled_films(session, disagreements=disagreements, blinded=blinded, since=since)
    store = store_of(settings, known=True)
    kept = [film for film in found.films if store.exists(film.store_key)]
    if not kept:
        msg = "no film with a reader's label is held: nothing is written"
        raise UsageError(msg)
    audit_shown(
        database, "agreement export", [{"study_uid": film.study_uid, "side": film.side} for film in kept], as_csv=True
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(LISTED)
    for film in kept:
        path = store.path(film.store_key).resolve()
        writer.writerow([path, film.label, film.patient, "yes" if film.blinded else "no", *film.subgroups])
    write_whole(file, [text.getvalue().encode()])
    left_out = found.ambiguous + found.unlabelled + len(found.films) - len(kept)
    complain(f"{len(kept)} films are listed in {file}")
    if left_out:
        complain(
            f"left out: films of {found.ambiguous} studies with several films and label PNEUMONIA, "
            f"{found.unlabelled} verdicts without a label, {len(found.films) - len(kept)} films that are no longer held"
        )
