"""``auscult patient export``: everything held of one person, for their own request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.options import Issuer, PatientId, Who
from worker.cli.common.output import AsJson, complain, opened_once, print_facts, print_json
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.errors import UsageError


def export(
    patient_id: PatientId,
    out: Annotated[Path, typer.Option(help="File to write, readable by you alone; it must not exist yet.")],
    issuer: Issuer = None,
    originals: Annotated[
        bool, typer.Option("--originals", help="Write a ZIP with the DICOM originals beside the document.")
    ] = False,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Write everything held of one person into a file, for their own request (GDPR, articles 15 and 20).

    Look it over before you hand it out: a text that somebody typed may name another person.
    """
    from worker.intake.folders import spools
    from worker.retention.export import ExportRequest, export_patient
    from worker.retention.policy import record_rule

    settings = opened_once()
    if not out.absolute().parent.is_dir():
        msg = f"the folder {out.absolute().parent} does not exist: make it, or name a file in another"
        raise UsageError(msg)
    database = open_database(settings)
    request = ExportRequest(patient_id, issuer, out.absolute(), originals, record_rule(settings), spools(settings))
    done = export_patient(settings, database, request, Actor.user(who or "")).as_dict()
    if as_json:
        print_json(done | {"out": str(out), "notice": NOTICE})
        return
    print_facts(done.items())
    complain(f"written to {out}. {NOTICE}")
    if done["missing"]:
        complain(f"{done['missing']} originals are on record and not in the store: see `auscult fsck`")
