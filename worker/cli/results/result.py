"""The verb ``result``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.audited import audit_objects
from worker.cli.common.new_file import check_new
from worker.cli.common.output import AsJson, complain, opened_once, print_facts, print_json
from worker.database import open_database


def result(
    study: Annotated[str, typer.Argument(help="Study Instance UID, accession number or Patient ID.")],
    out: Annotated[Path, typer.Option(help="File for the structured report; it must not exist yet.")],
    heat_map: Annotated[Path | None, typer.Option(help="File for a picture of the evidence on the film.")] = None,
    replaces: Annotated[
        Path | None, typer.Option(help="The report of this study that the new one takes the place of, a file.")
    ] = None,
    side: Annotated[int | None, typer.Option(help="Which patient, where a study has several.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Write a study's result as DICOM objects for a PACS: a structured report, and a heat map if wanted.

    A study without an answer, or with one in doubt, has no objects. The files hold patient data, for you alone to read.
    """
    from dicom_io.durable import write_whole
    from dicom_io.results.objects import file_bytes
    from worker.results.make import ResultRequest, result_objects

    for path in filter(None, (out, heat_map)):
        check_new(path)
    settings = opened_once()
    database = open_database(settings)
    made = result_objects(
        settings,
        database,
        ResultRequest(study, side, with_heat_map=heat_map is not None, replaces=replaces),
    )
    files = {out: made.report} | ({heat_map: made.heat_map} if heat_map and made.heat_map else {})
    said = made.result
    kinds = ["report", "heat map"][: len(files)]
    audit_objects(database, (said.study_uid, said.side), str(made.report.SOPInstanceUID), kinds)
    for path, ds in files.items():
        write_whole(path, [file_bytes(ds)])
    facts = {
        "study_uid": said.study_uid,
        "side": said.side,
        "finding": "PNEUMONIA",
        "finding_status": said.status.value,
        "model": f"{said.model.name}-{said.model.version}",
        "device_uid": said.model.device_uid,
        "report_sop_uid": str(made.report.SOPInstanceUID),
        "heat_map_sop_uid": str(made.heat_map.SOPInstanceUID) if made.heat_map else None,
        "replaces_sop_uid": said.predecessor.sop_uid if said.predecessor else None,
    }
    if as_json:
        print_json(facts | {"notice": NOTICE})
        return
    print_facts((name, value) for name, value in facts.items() if value is not None)
    complain(f"written to {', '.join(map(str, files))}. {NOTICE}")
