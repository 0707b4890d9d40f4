"""A power cut at any moment: what was acknowledged is left, and a listener that starts on what is left makes rows of it.

A run is recorded call by call (`tests.support.system_calls`) and replayed into a disk that keeps only what POSIX promises
(`tests.support.power_cut`). Then a cut is made behind each call that changed the data folder, with everything that was not
synced lost, kept or mixed. That the harness can fail is shown by runs from which one sync, or the order, is taken away.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.client.send import send
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from tests.support.documents import ROOT
from tests.support.objects import Made
from tests.support.running import Running, Site, command
from tests.support.sites import make_study
from tests.support.survival import ACKNOWLEDGED, Survival, acknowledged_by, restore
from tests.support.system_calls import RECORD, Event, events
from tests.support.waiting import wait_until
from worker.database import connect
from worker.intake.filing import Filing, StudyClock
from worker.intake.registrar import Registrar
from worker.settings import load_settings
from worker.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Recorded:
    """A run: its data folder, a copy of that from before, and its calls."""

    home: Path
    before: Path | None
    calls: list[Event]

    def survival(self, calls: list[Event] | None = None, **options: Any) -> Survival:
        return Survival(self.home, self.before, **options).run(self.calls if calls is None else calls)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="auscult-cut-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def record_listener(strace: str, folder: Path, objects: int, *, is_new: bool = False) -> Recorded:
    """A listener that receives objects over two associations, some of them twice, and registers them."""
    site, trace, log = Site(folder / "home"), folder / "trace", folder / "listen.log"
    before = None
    if not is_new:
        # The first start makes some thousand pages of schema, which the long proof records too.
        site.run("worklist")
        before = shutil.copytree(site.home, folder / "before")
    site.home.mkdir(mode=0o700, exist_ok=True)
    made = [Made(pixel_bytes=2000) for _ in range(objects)]
    paths = [each.write(folder / f"{each.sop_uid}.dcm") for each in made]
    with log.open("wb") as stream:
        traced = [strace, *RECORD, "-o", str(trace), *command("listen")]
        process = subprocess.Popen(traced, env=site.environment, stdout=stream, stderr=stream)
    listener = Running(site, process, log)
    try:
        port = listener.port
        senders = [
            threading.Thread(target=send, args=(part, "127.0.0.1", port)) for part in (paths, paths[: objects // 2])
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(120)
        wait_until(lambda: len(site.query("SELECT sop_uid FROM image")) == objects, 60, "a row for each object")
        wait_until(lambda: not list((site.home / "spool" / "new").iterdir()), 60, "an empty spool")
    finally:
        # strace passes the signal on to nobody: its child is the listener.
        for child in listener.descendants():
            child.terminate()
        process.wait(60)
    return Recorded(site.home, before, events(trace))


@pytest.fixture(scope="module")
def listened(folder: Path, dcmtk: Peers) -> Recorded:
    return record_listener(dcmtk.programs["strace"], folder, objects=6)


def test_no_power_cut_takes_an_acknowledged_object_of_the_listener(listened: Recorded) -> None:
    found = listened.survival()
    print(found)  # noqa: T201 - the figures of the proof
    assert len(found.acknowledged) == 6
    assert found.losses == [], str(found.losses[0])


def without(kind: str, part: str) -> Callable[[list[Event]], list[Event]]:
    """The calls without those of a kind on paths that hold this part."""
    return lambda calls: [call for call in calls if not (call.kind == kind and part in f"{call.path}/")]


def removed_before_the_commit(calls: list[Event]) -> list[Event]:
    """The calls as of a registrar that removes a spool entry as soon as it is linked into the store."""
    early = {call.path: call for call in calls if call.kind == "remove" and "/spool/new/" in call.path}
    found = []
    for call in calls:
        if early.get(call.path) is not call:
            found.append(call)
        if call.kind == "name" and call.path in early:
            found.append(dataclasses.replace(early[call.path], began=call.began, ended=call.ended))
    return found


def acknowledged_before_the_name(calls: list[Event]) -> list[Event]:
    """The calls as of a listener that answers before it has renamed the file, as one does that answers after write."""
    moved = [call for call in calls if call.kind == "move" and "/spool/tmp/" in call.path]
    answers = [call for call in calls if list(acknowledged_by(call))]
    found = [call for call in calls if call not in answers]
    for call in moved:
        answer = next((each for each in answers if each.ended > call.ended), None)
        if answer:
            answers.remove(answer)
            found.insert(found.index(call), dataclasses.replace(answer, began=call.began, ended=call.began))
    return found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("sync", "/spool/tmp/"), id="no fsync of the file"),
        pytest.param(without("sync", "/spool/new/"), id="no fsync of the inbox's folder"),
        pytest.param(without("sync", "/store/"), id="no fsync of the store's folders"),
        pytest.param(without("sync", "auscult.db-wal"), id="no fsync of the database's log"),
        pytest.param(removed_before_the_commit, id="removed before the commit"),
        pytest.param(acknowledged_before_the_name, id="acknowledged before the name"),
    ],
)
def test_the_harness_finds_the_loss_where_a_sync_or_the_order_is_taken_away(
    change: Callable[[list[Event]], list[Event]], listened: Recorded
) -> None:
    changed = change(listened.calls)
    assert changed != listened.calls
    assert listened.survival(changed, mixtures=0, first_only=True).losses


def test_what_a_power_cut_leaves_is_registered_by_the_next_start(listened: Recorded, tmp_path: Path) -> None:
    left: list[tuple[dict[str, tuple[int, bytes]], frozenset[str]]] = []
    listened.survival(mixtures=0, on_left=lambda files, acknowledged: left.append((files, acknowledged)))
    assert left
    for number, (files, acknowledged) in enumerate((left[0], left[len(left) // 2], left[-1])):
        home = tmp_path / str(number)
        restore(files, home)
        assert acknowledged <= recovered(home)


def recovered(home: Path) -> set[str]:
    """The objects with a row and an original once a registrar has worked on a data folder."""
    settings = load_settings(home=home)
    database = connect(settings)
    spool = Spool(settings.spool)
    spool.sweep_tmp()
    assert not list((settings.spool / "tmp").iterdir())

    def filing() -> Filing:
        return Filing(database.sessions, open_store(settings, database), StudyClock(0, 60_000))

    try:
        registrar = Registrar(spool, Journal(settings.spool), database.sessions, filing, lambda: None)
        registrar.turn()
        assert spool.keys() == []
        store = open_store(settings, database)
        site = Site(home, {"AUSCULT_DATABASE_URL": f"sqlite:///{home / 'auscult.db'}"})
        rows = site.query("SELECT sop_uid, store_key FROM image")
        return {row["sop_uid"] for row in rows if store.exists(row["store_key"])}
    finally:
        database.dispose()


#: Objects that are put, set aside, put back, by one process; a line is written for each that is safe.
MOVES = """
import os, sys
from pathlib import Path
from dicom_io.inbox.quarantine import Note
from dicom_io.inbox.spool import Spool
spool = Spool(Path(sys.argv[1]) / "spool")
acknowledged = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
def safe(name):
    os.write(acknowledged, name.encode() + b"\\n")
for turn in range(3):
    aside, other = f"1.2.{turn}.1", f"1.2.{turn}.2"
    key = spool.put([aside.encode(), bytes(5000)])
    safe(aside)
    spool.quarantine(key, Note.of("REGISTRATION_FAILED", ValueError()))
    spool.put([other.encode(), bytes(5000)])
    safe(other)
    spool.set_aside.release(key)
"""


@pytest.fixture(scope="module")
def moved(dcmtk: Peers) -> Iterator[Recorded]:
    with tempfile.TemporaryDirectory(prefix="auscult-cut-", dir="/tmp") as name:
        folder = Path(name)
        home, trace = folder / "home", folder / "trace"
        home.mkdir()
        script = [sys.executable, "-c", MOVES, str(home), str(folder / ACKNOWLEDGED)]
        subprocess.run(
            [dcmtk.programs["strace"], *RECORD, "-o", str(trace), *script], cwd=ROOT, check=True, timeout=120
        )
        yield Recorded(home, None, events(trace))


def test_no_power_cut_takes_an_object_on_its_way_into_quarantine_or_back(moved: Recorded) -> None:
    found = moved.survival(mixtures=20)
    print(found)  # noqa: T201
    assert len(found.acknowledged) == 6
    assert found.losses == [], str(found.losses[0])


def test_the_harness_finds_the_loss_of_a_move_by_rename_alone(moved: Recorded) -> None:
    """A rename whose old name is gone before the new one is durable, which POSIX allows."""
    linked = {call.path: call for call in moved.calls if call.kind == "name"}
    calls = [
        dataclasses.replace(call, kind="move") if call.kind == "name" else call
        for call in moved.calls
        if not (call.kind == "remove" and call.path in linked)
    ]
    assert moved.survival(calls, mixtures=0, first_only=True).losses


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_no_power_cut_takes_an_object_from_the_first_start_on_with_many_mixtures(dcmtk: Peers) -> None:
    with tempfile.TemporaryDirectory(prefix="auscult-cut-", dir="/tmp") as name:
        recorded = record_listener(dcmtk.programs["strace"], Path(name), objects=20, is_new=True)
        found = recorded.survival(mixtures=10)
    print(found)  # noqa: T201
    assert len(found.acknowledged) == 20
    assert found.losses == [], str(found.losses[0])


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_no_power_cut_takes_what_an_ingest_has_taken_nor_the_film_that_a_row_names(dcmtk: Peers) -> None:
    with tempfile.TemporaryDirectory(prefix="auscult-cut-", dir="/tmp") as name:
        folder = Path(name)
        site, trace = Site(folder / "home"), folder / "trace"
        site.run("worklist")
        before = shutil.copytree(site.home, folder / "before")
        (folder / "films").mkdir()
        study = make_study(folder / "films", films=3)
        traced = [dcmtk.programs["strace"], *RECORD, "-o", str(trace), *command("ingest", str(folder / "films"))]
        subprocess.run(traced, env=site.environment, check=True, timeout=600, capture_output=True)
        calls, end = events(trace), "\n".join(path.stem for path in study.files)
        last = max(call.ended for call in calls) + 1
        calls.append(Event("write", last, last, str(folder / ACKNOWLEDGED), data=end.encode()))
        found = Recorded(site.home, before, calls).survival(mixtures=5, with_films=True)
        films = {call.target for call in calls if call.kind == "move" and "/films/" in call.target}
        changed = without("sync", "/films/")(calls)
        torn = Recorded(site.home, before, changed).survival(mixtures=0, with_films=True).torn_films
    print(found)  # noqa: T201
    assert len(films) == 3
    assert len(found.acknowledged) == 3
    assert found.losses == [], str(found.losses[0])
    assert found.torn_films == []
    assert torn, "the harness can find a film that is not whole"
