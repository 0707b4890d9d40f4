"""``auscult demo``: films go through a real listener and a real worker into real SQL, in one command."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy.engine import make_url

from dicom_io.client.send import send
from dicom_io.create.phantom import demo_studies
from dicom_io.create.wrap import wrap_picture
from dicom_io.errors import DicomIoError
from dicom_io.film.picture_file import is_picture
from dicom_io.header.reader import read_facts
from model.notice import NOTICE
from worker.batches.sources import Kind, Skipped, gather
from worker.cli.common.audited import audit_shown
from worker.cli.common.output import complain, console, print_table
from worker.cli.common.wording import answer_of
from worker.database import Database, make_home, open_database
from worker.db.read import queries, worklist
from worker.db.schema.states import TERMINAL_STATES, StudyState
from worker.errors import UsageError, WorkerError
from worker.peers import caller_of
from worker.processes.supervisor import Supervisor
from worker.processes.up import running_stack, wait_until_listening
from worker.progress import progress
from worker.settings import Settings, load_settings

#: Settings of a demo, unless the user sets them: it does not wait as long for further films, and logs less.
DEMO_SETTINGS = {"quiet_s": 2.0, "log": "warning"}
POLL_S = 0.25
#: The demo gives up when no study changes its state for this time: the quiet time is 2 s, a film takes milliseconds.
STALLED_S = 120.0
#: Films sent over one association, and rows shown of a large push.
CHUNK = 64
SHOWN = 50
CALLING_AET = "AUSCULT_DEMO"
#: The demo's data folder is beside that of the site. The mark in it says that every study there is from a demo.
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
    """The listener accepted the films, but their processing makes no progress."""

    exit_code = 1


@dataclass(slots=True)
class Pushed:
    """The studies that the listener accepted, in sending order, and how many films it did not accept."""

    study_uids: dict[str, None] = field(default_factory=dict)
    lost: int = 0


def run_demo(settings: Settings, films: Path | None, *, once: bool, at_site: bool) -> int:
    """Serve, send films, show the worklist; unless ``once``, serve until Ctrl-C. Returns the exit code."""
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
    """Return the settings of the site with a data folder, database, broker and store only for demos.

    Drawn films must never appear in the worklist of a site. Raises UsageError where the folder holds other studies.
    """
    home = settings.home
    if not (home / DEMO_MARK).exists():
        home = home.with_name(home.name + DEMO_SUFFIX)
    if not (home / DEMO_MARK).exists() and any((home / name).exists() for name in HOLDS_STUDIES):
        msg = (
            f"{home} holds studies that are not from a demo: choose another folder by AUSCULT_HOME, "
            "or send the demo's films to the site's own database by --at-site"
        )
        raise UsageError(msg)
    own = {"home": home, "database_url": "", "broker_url": "", "store_dir": home}
    models = {"models_dir": settings.models_dir or settings.models}
    return load_settings(**{**settings.model_dump(exclude_unset=True), **models, **own})


def films_of(folder: Path) -> Sequence[Path]:
    """Return the DICOM files and pictures of a folder; raises UsageError when there are none."""
    skipped = Skipped()
    found = gather([folder], skipped, {Kind.DICOM, Kind.PICTURE})
    for sentence in skipped.sentences():
        complain(sentence)
    return [item.path for item in found]


def _push(items: Sequence[Dataset | Path], settings: Settings, port: int) -> Pushed:
    """Send all items by C-STORE in chunks, so that a large folder is never in memory as a whole."""
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
    """Return what to send and its Study Instance UID: a picture wrapped as DICOM, a DICOM file as it is."""
    try:
        if isinstance(item, Path) and not is_picture(item):
            return item, read_facts(item).study_uid
        ds = wrap_picture(item) if isinstance(item, Path) else item
        return ds, str(ds.StudyInstanceUID)
    except (DicomIoError, OSError):
        complain(f"{item} is skipped: it is damaged, or neither a JPEG, PNG nor DICOM file")
        return None


def wait_judged(
    database: Database, study_uids: Sequence[str], supervisor: Supervisor, stalled_s: float = STALLED_S
) -> None:
    """Wait until every study is answered or the demo is stopped; raises DemoStalled without progress for ``stalled_s``."""
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
        rows: list[dict[str, Any]] = worklist.worklist(session, study_uids=study_uids, limit=SHOWN)
    audit_shown(database, "demo", rows)
    print_table([{**row, "answer": answer_of(row)} for row in rows], COLUMNS, title="worklist")
    out = console()
    out.print(NOTICE, style="bold")
    out.print(f"send:   storescu -aec {settings.ae_title} {settings.host} {port} film.dcm", markup=False)
    out.print(f"query:  {query_example(settings)}", markup=False, soft_wrap=True)
    out.print(f"or:     export AUSCULT_HOME={shlex.quote(str(settings.home))}", markup=False, soft_wrap=True)
    out.print("        auscult worklist, auscult show STUDY, auscult rerun --all --dry-run", markup=False)


def query_example(settings: Settings) -> str:
    """Return a command line that reads the worklist of this database."""
    if settings.is_embedded:
        path = Path(make_url(settings.database).database or "")
        return f'sqlite3 "{path.absolute().as_uri()}?mode=ro" "{EXAMPLE}"'
    return f'psql "$AUSCULT_DATABASE_URL" -c "{EXAMPLE}"'
