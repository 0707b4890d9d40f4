"""``auscult demo``: the whole way, for real, in one command: real listener, real C-STORE, real worker, real SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_io.errors import DicomIoError
from dicom_io.header import read_facts
from dicom_io.phantom import demo_studies
from dicom_io.scu import send
from dicom_io.wrap import wrap_picture
from worker.bootstrap import Database, open_database
from worker.cli.output import complain, console, print_table
from worker.db import queries
from worker.errors import UsageError
from worker.progress import progress
from worker.settings import Settings, load_settings
from worker.sources import is_picture, walk
from worker.supervisor import Supervisor
from worker.up import running_stack, wait_until_listening

#: What a demo has otherwise than a hospital, unless it is set: it need not wait, and the worklist is what to read.
DEMO_SETTINGS = {"quiet_s": 2.0, "log": "warning"}
POLL_S = 0.25
CALLING_AET = "AUSCULT_DEMO"
EXAMPLE = "SELECT study_uid, ai_status, label, probability FROM worklist"
TERMINAL = frozenset({"FINAL", "NOT_APPLICABLE", "FAILED"})
COLUMNS = {
    "patient_id": "Patient ID",
    "ai_status": "Status",
    "label": "Label",
    "probability": "Probability",
    "reason": "Reason",
    "flags": "Flags",
    "model_name": "Model",
    "model_version": "Version",
    "study_uid": "Study Instance UID",
}


@dataclass(frozen=True, slots=True)
class Push:
    """What the demo sends, in sending order: data sets in memory or DICOM files, and their studies."""

    sources: Sequence[Dataset | Path]
    study_uids: Sequence[str]
    unreadable: int = 0


def run_demo(settings: Settings, films: Path | None, *, once: bool) -> int:
    """Serve, push, show the worklist; serve on until Ctrl-C unless ``once``. Returns the exit code."""
    chosen = {name: value for name, value in DEMO_SETTINGS.items() if name not in settings.model_fields_set}
    settings = load_settings(**settings.model_dump(exclude_unset=True), **chosen)
    push = films_of(films) if films else phantoms()
    complain(f"data folder {settings.home}")
    with running_stack(settings) as supervisor:
        port = wait_until_listening(settings, supervisor)
        refused = _send(push, settings, port)
        database = open_database(settings)
        _wait(database, push.study_uids, supervisor)
        _show(settings, database, push.study_uids, port)
        database.dispose()
        if not once:
            complain("serving until Ctrl-C")
            supervisor.run()
    return 1 if refused or push.unreadable else 0


def phantoms() -> Push:
    """The films drawn in code."""
    datasets = [film.dataset for film in demo_studies()]
    return Push(datasets, _once(str(ds.StudyInstanceUID) for ds in datasets))


def films_of(folder: Path) -> Push:
    """The pictures of a folder wrapped as DICOM, and its DICOM files as they are."""
    if not folder.exists():
        msg = f"no such folder: {folder}"
        raise UsageError(msg)
    sources: list[Dataset | Path] = []
    studies, unreadable = [], 0
    for path in walk([folder]):
        try:
            source: Dataset | Path = wrap_picture(path) if is_picture(path) else path
            studies.append(read_facts(path).study_uid if isinstance(source, Path) else str(source.StudyInstanceUID))
            sources.append(source)
        except (DicomIoError, OSError) as error:
            unreadable += 1
            complain(f"{path} left out: neither a picture nor a DICOM file ({type(error).__name__})")
    if not sources:
        msg = f"no JPEG, PNG or DICOM file in {folder}"
        raise UsageError(msg)
    return Push(sources, _once(studies), unreadable)


def _once(uids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(uid for uid in uids if uid))


def _send(push: Push, settings: Settings, port: int) -> int:
    """Push everything; returns how many objects were not taken."""
    with progress("sending by C-STORE", len(push.sources)) as advance:
        results = send(push.sources, settings.host, port, settings.ae_title, CALLING_AET, advance)
    refused = [result for result in results if result.status != 0]
    for result in refused:
        complain(f"{result.sop_uid or result.path} was answered 0x{result.status:04X}: see CONFORMANCE.md")
    return len(refused)


def _wait(database: Database, study_uids: Sequence[str], supervisor: Supervisor) -> None:
    """Until every study of the demo is terminal, or somebody stops it."""
    with progress("judging", len(study_uids)) as advance:
        while not supervisor.stopping.is_set():
            with database.reads() as session:
                states = queries.states_of(session, study_uids)
            done = sum(state in TERMINAL for state in states.values())
            advance(done)
            if done == len(study_uids):
                return
            supervisor.check()
            supervisor.stopping.wait(POLL_S)


def _show(settings: Settings, database: Database, study_uids: Sequence[str], port: int) -> None:
    with database.reads() as session:
        rows: list[dict[str, Any]] = queries.worklist(session, study_uids=study_uids)
    print_table(rows, COLUMNS, title="worklist")
    out = console()
    out.print("Not a medical device. Not for diagnosis.", style="bold")
    out.print(f"send:   storescu -aec {settings.ae_title} {settings.host} {port} film.dcm", markup=False)
    out.print(f"query:  {query_example(settings)}", markup=False, soft_wrap=True)
    out.print("or:     auscult worklist, auscult show STUDY, auscult rerun --all --dry-run", markup=False)


def query_example(settings: Settings) -> str:
    """A command line that reads the worklist of this database."""
    if settings.is_embedded:
        path = settings.database.removeprefix("sqlite:///")
        return f'sqlite3 "file:{path}?mode=ro" "{EXAMPLE}"'
    return f'psql "$AUSCULT_DATABASE_URL" -c "{EXAMPLE}"'
