"""The verb ``assess``."""

from __future__ import annotations

from typing import Annotated

import typer

from model.labels import Label
from worker.cli.common.output import complain, opened_once
from worker.database import open_database
from worker.db.read.assessments import Verdict, assess_study
from worker.db.read.naming import named_study
from worker.db.schema.engine import in_transaction
from worker.environment import login
from worker.errors import UsageError


def assess(
    study: Annotated[
        str, typer.Argument(help="Study Instance UID, accession number or Patient ID.", show_default=False)
    ],
    agree: Annotated[bool, typer.Option("--agree", help="The label of the answer is right.")] = False,
    disagree: Annotated[bool, typer.Option("--disagree", help="It is wrong.")] = False,
    label: Annotated[
        str | None, typer.Option(help="NORMAL or PNEUMONIA, as you see it; alone it says whether you agree.")
    ] = None,
    blinded: Annotated[bool, typer.Option("--blinded", help="You had not seen the answer.")] = False,
    side: Annotated[int, typer.Option(help="Which patient of the Study Instance UID, as in the worklist.", min=0)] = 0,
    who: Annotated[str | None, typer.Option(help="Who has read the study; default: your login name.")] = None,
    airai_code: Annotated[
        str | None, typer.Option(help="Code of the scheme 99IHE to be kept with it (IHE AIRAI); not checked.")
    ] = None,
) -> None:
    """Record that a study was read, and whether the answer is right; without an option it was read and nothing more.

    The worklist shows the verdict on its answer until films come that nobody has read. An audit event is written with it.
    """
    if agree and disagree:
        msg = "give --agree or --disagree, not both"
        raise UsageError(msg)
    wanted = label.upper() if label else None
    if wanted is not None and wanted not in set(Label):
        msg = f"--label is {' or '.join(Label)}"
        raise UsageError(msg)
    verdict = Verdict(
        reader=who or login(),
        verdict="AGREE" if agree else "DISAGREE" if disagree else None,
        label=wanted,
        blinded=blinded,
        airai_code=airai_code,
    )
    database = open_database(opened_once())
    with database.reads() as session:
        key = named_study(session, study, side)
    in_transaction(database.sessions, lambda session: assess_study(session, key, verdict))
    complain(f"study {key.study_uid} is marked as read by {verdict.reader}")
