"""The verb ``retry``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common.options import Who, WhyGiven
from worker.cli.common.output import complain, opened_once
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.db.read.naming import StudyKey, check_one, meant
from worker.db.schema.engine import in_transaction


def retry(
    study: Annotated[
        str, typer.Argument(help="Study Instance UID, accession number or Patient ID.", show_default=False)
    ],
    why: WhyGiven,
    who: Who = None,
) -> None:
    """Try the failed films of a study again, after their cause is gone; the answer follows as for new films.

    `auscult rerun --study UID` scores all films of a study again, failed or not, as a batch behind live work.
    """
    from worker.db.tasks.retries import retry_study

    database = open_database(opened_once())
    with database.reads() as session:
        # Of several patients under one Study Instance UID the films of all are tried again.
        uids = sorted({key.study_uid for key in meant(session, study)})
    check_one([StudyKey(uid, 0) for uid in uids], study)
    actor = Actor.user(who or "")
    made = in_transaction(database.sessions, lambda session: retry_study(session, uids[0], actor, why))
    complain(f"{made} films are tried again" if made else "no film of this study failed: nothing to try again")
