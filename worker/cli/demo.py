"""``auscult demo``: the whole way, for real, in one command: real listener, real C-STORE, real worker, real SQL."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy.engine import make_url

from dicom_io.errors import DicomIoError
from dicom_io.film import is_picture
from dicom_io.header import read_facts
from dicom_io.phantom import demo_studies
from dicom_io.scu import send
from dicom_io.wrap import wrap_picture
from worker.bootstrap import Database, make_home, open_database
from worker.cli.look import answer_of
from worker.cli.output import complain, console, print_table
from worker.db import queries
from worker.db.states import TERMINAL_STATES, StudyState
from worker.errors import UsageError, WorkerError
from worker.peers import caller_of
from worker.progress import progress
from worker.settings import Settings, load_settings
from worker.sources import Kind, Skipped, gather
from worker.supervisor import Supervisor
from worker.up import running_stack, wait_until_listening

#: What a demo has otherwise than a hospital, unless it is set: it need not wait, and the worklist is what to read.
DEMO_SETTINGS = {"quiet_s": 2.0, "log": "warning"}
POLL_S = 0.25
#: Without any study's state changing for so long, nothing will: the quiet time is 2 s, a film takes milliseconds.
STALLED_S = 120.0
#: Films sent over one association, and rows shown of a large push.
CHUNK = 64
SHOWN = 50
CALLING_AET = "AUSCULT_DEMO"
#: The demo's data folder stands beside that of the site. The mark in it says that every study there is the demo's.
DEMO_SUFFIX = "-demo"
DEMO_MARK = "demo"
HOLDS_STUDIES = ("auscult.db", "spool", "store", "ingest", "fetch")
EXAMPLE = "SELECT study_uid, ai_status, label, probability FROM worklist"
COLUMNS = {
    "patient_id": "Patient ID",
    "ai_status": "Status",
    "answer": "Answer",
    "flags": "Flags",
}


class DemoStalled(WorkerError):
    """The films were taken, but the work on them does not go on."""

    exit_code = 1


@dataclass(slots=True)
class Pushed:
    """What became of the films: the studies that were taken, in sending order, and how many films were not."""

    study_uids: dict[str, None] = field(default_factory=dict)
    lost: int = 0


def run_demo(settings: Settings, films: Path | None, *, once: bool, at_site: bool) -> int:
    """Serve, push, show the worklist; serve on until Ctrl-C unless ``once``. Returns the exit code."""
    if not at_site:
        settings = demo_settings(settings)
    chosen = {name: value for name, value in DEMO_SETTINGS.items() if name not in settings.model_fields_set}
    settings = load_settings(**settings.model_dump(exclude_unset=True), **chosen)
    items = films_of(films) if films else [film.dataset for film in demo_studies()]
    complain(f"data folder {settings.home}")
    if not at_site:
        make_home(settings)
        (settings.home / DEMO_MARK).touch()
    with running_stack(settings, "auscult demo") as stack:
        port = wait_until_listening(stack)
        pushed = _push(items, settings, port)
        database = open_database(settings)
        wait_judged(database, list(pushed.study_uids), stack.supervisor)
        _show(settings, database, list(pushed.study_uids), port)
        database.dispose()
        if not once:
            complain("serving until Ctrl-C")
            stack.supervisor.run()
    return 1 if pushed.lost else 0


def demo_settings(settings: Settings) -> Settings:
    """The settings of the site with a data folder, database, broker and store of the demo's own.

    Drawn films must never stand in the worklist of a site. Raises UsageError where the folder holds something else.
    """
    home = settings.home
    if not (home / DEMO_MARK).exists():
        home = home.with_name(home.name + DEMO_SUFFIX)
    if not (home / DEMO_MARK).exists() and any((home / name).exists() for name in HOLDS_STUDIES):
        msg = (
            f"{home} holds studies that no demo put there: choose another folder by AUSCULT_HOME, "
            "or push the demo's films into the site's own database by --at-site"
        )
        raise UsageError(msg)
    own = {"home": home, "database_url": "", "broker_url": "", "store_dir": home}
    models = {"models_dir": settings.models_dir or settings.models}
    return load_settings(**{**settings.model_dump(exclude_unset=True), **models, **own})


def films_of(folder: Path) -> Sequence[Path]:
    """The files of a folder; raises UsageError when there are none."""
    skipped = Skipped()
    found = gather([folder], skipped, {Kind.DICOM, Kind.PICTURE})
    for sentence in skipped.sentences():
        complain(sentence)
    return [item.path for item in found]


def _push(items: Sequence[Dataset | Path], settings: Settings, port: int) -> Pushed:
    """Send everything by C-STORE, some at a time, so that a large folder is never in memory as a whole."""
    pushed = Pushed()
    with progress("sending by C-STORE", len(items)) as advance:
        for start in range(0, len(items), CHUNK):
            _push_some(items[start : start + CHUNK], settings, port, pushed)
            advance(min(start + CHUNK, len(items)))
    return pushed


def _push_some(items: Sequence[Dataset | Path], settings: Settings, port: int, pushed: Pushed) -> None:
    ready = [source for item in items if (source := _source(item)) is not None]
    pushed.lost += len(items) - len(ready)
    sources, caller = [item for item, _ in ready], caller_of(settings, aet=CALLING_AET)
    results = send(sources, settings.host, port, settings.ae_title, caller)
    for (_, study_uid), result in zip(ready, results, strict=True):
        if result.status == 0:
            pushed.study_uids[study_uid] = None
        else:
            pushed.lost += 1
            complain(f"{result.path or result.sop_uid} was answered 0x{result.status:04X}: see CONFORMANCE.md")


def _source(item: Dataset | Path) -> tuple[Dataset | Path, str] | None:
    """What to send and its Study Instance UID: a picture wrapped as DICOM, a DICOM file as it is."""
    try:
        if isinstance(item, Path) and not is_picture(item):
            return item, read_facts(item).study_uid
        ds = wrap_picture(item) if isinstance(item, Path) else item
        return ds, str(ds.StudyInstanceUID)
    except (DicomIoError, OSError):
        complain(f"{item} left out: neither a JPEG, PNG nor DICOM file, or damaged")
        return None


def wait_judged(
    database: Database, study_uids: Sequence[str], supervisor: Supervisor, stalled_s: float = STALLED_S
) -> None:
    """Until every study is terminal, or somebody stops it; raises DemoStalled when nothing moves for ``stalled_s``."""
    seen: Mapping[str, StudyState] = {}
    moved_at = time.monotonic()
    with progress("judging", len(study_uids)) as advance:
        while not supervisor.stopping.is_set():
            with database.reads() as session:
                states = queries.states_of(session, study_uids)
            done = sum(state in TERMINAL_STATES for state in states.values())
            advance(done)
            if done == len(study_uids):
                return
            supervisor.check()
            if states != seen:
                seen, moved_at = states, time.monotonic()
            elif time.monotonic() - moved_at > stalled_s:
                msg = (
                    f"{done} of {len(study_uids)} studies are judged and nothing has moved for {stalled_s:g} s: "
                    "see 'auscult status' and the log above; a data folder of another release is one cause"
                )
                raise DemoStalled(msg)
            supervisor.stopping.wait(POLL_S)


def _show(settings: Settings, database: Database, study_uids: Sequence[str], port: int) -> None:
    with database.reads() as session:
        rows: list[dict[str, Any]] = queries.worklist(session, study_uids=study_uids, limit=SHOWN)
    print_table([{**row, "answer": answer_of(row)} for row in rows], COLUMNS, title="worklist")
    out = console()
    out.print("Not a medical device. Not for diagnosis.", style="bold")
    out.print(f"send:   storescu -aec {settings.ae_title} {settings.host} {port} film.dcm", markup=False)
    out.print(f"query:  {query_example(settings)}", markup=False, soft_wrap=True)
    out.print(f"or:     export AUSCULT_HOME={shlex.quote(str(settings.home))}", markup=False, soft_wrap=True)
    out.print("        auscult worklist, auscult show STUDY, auscult rerun --all --dry-run", markup=False)


def query_example(settings: Settings) -> str:
    """A command line that reads the worklist of this database."""
    if settings.is_embedded:
        path = Path(make_url(settings.database).database or "")
        return f'sqlite3 "{path.absolute().as_uri()}?mode=ro" "{EXAMPLE}"'
    return f'psql "$AUSCULT_DATABASE_URL" -c "{EXAMPLE}"'
