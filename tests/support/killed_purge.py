"""A purge of records, or an erasure, in a process of its own that is killed (SIGKILL) at a step that is named.

`python -m tests.support.killed_purge VERB STEP PATIENT`, with the site in AUSCULT_HOME and AUSCULT_DATABASE_URL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from worker.database import connect
from worker.db.audit.record import Actor
from worker.db.retention import files, records, runs
from worker.retention import removing
from worker.retention.erase import Request, erase
from worker.retention.policy import record_rule
from worker.retention.records import RecordsOrder, purge_records
from worker.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
#: Each step with the function that the process does not survive.
STEPS: dict[str, tuple[Any, str]] = {
    "files are marked, not committed": (runs, "renew"),
    "files are marked": (removing.Remover, "_remove_one"),
    "files are removed": (files, "confirm"),
    "rows are next": (records, "delete_record"),
    "rows are deleted, not committed": (records, "record"),
    "all is done": (runs, "finish"),
}


def killed(home: Path, url: str, verb: str, step: str, patient: str = "", **settings: str) -> None:
    """Run this module in a process, which must end by SIGKILL."""
    named = {f"AUSCULT_{name.upper()}": value for name, value in settings.items()}
    environment = os.environ | {"AUSCULT_HOME": str(home), "AUSCULT_DATABASE_URL": url} | named
    command = [sys.executable, "-m", "tests.support.killed_purge", verb, step, patient]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(verb: str, step: str, patient: str) -> None:
    """Do the work until the step."""
    settings = load_settings()
    database = connect(settings)
    setattr(*STEPS[step], _die)
    rule, ada = record_rule(settings), Actor("ada")
    if verb == "purge":
        purge_records(settings, database, RecordsOrder(rule, ada))
    else:
        erase(settings, database, Request(patient, None, rule, {}), actor=ada, why="asked for")


if __name__ == "__main__":
    main(*sys.argv[1:])
