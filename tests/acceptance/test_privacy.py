"""No patient data outside the study's row and the stored objects: not in logs, messages, errors or file names.

Two markers go through everything. One stands where a patient's name and number belong; the other where none belongs,
in elements that libraries like to quote when they stumble over them. One scene is played once: pushed with the workers
held, judged, refused, not decodable, a worker killed, ingested, classified, re-run.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis

from dicom_io.client.send import send
from tests.support.objects import Made, new_uid
from tests.support.running import TERMINAL
from tests.support.sites import LOCAL, make_study, new_site, open_to_others, picture
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.running import Running, Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

PATIENT = "zqpatient"
STRAY = "zqstray"
MARKERS = (PATIENT, STRAY)
NAME = b"Zqstray^Mary"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
TABLES = ("study", "image", "model", "batch", "task", "result", "refusal", "worker", "audit_event", "audit_object")
VIEWS = ("worklist", "worklist_v3", "films", "changes", "result_history", "refused", "batch_progress", "queue_health")
#: Elements that hold anything but what their representation allows; each would do for a name typed in the wrong field.
STUMBLING_BLOCKS = {
    0x00080020: (b"DA", NAME),
    0x00080022: (b"DA", NAME),
    0x00080068: (b"CS", NAME),
    0x0008103E: (b"LO", NAME),
    0x00100030: (b"DA", NAME),
    0x00100040: (b"CS", NAME),
    0x00101010: (b"AS", NAME),
    0x00180015: (b"CS", NAME),
    0x00185101: (b"CS", NAME),
    0x00200011: (b"IS", NAME),
    0x00200020: (b"CS", NAME),
    0x00200052: (b"UI", NAME),
    0x00280008: (b"IS", NAME),
    0x00281050: (b"DS", NAME),
    0x00281051: (b"DS", NAME),
}
PICTURE = {
    0x00280002: (b"US", (1).to_bytes(2, "little")),
    0x00280004: (b"CS", b"MONOCHROME2"),
    0x00280010: (b"US", (160).to_bytes(2, "little")),
    0x00280011: (b"US", (200).to_bytes(2, "little")),
    0x00280100: (b"US", (16).to_bytes(2, "little")),
    0x00280101: (b"US", (12).to_bytes(2, "little")),
    0x00280102: (b"US", (11).to_bytes(2, "little")),
    0x00280103: (b"US", (0).to_bytes(2, "little")),
    0x7FE00010: (b"OW", picture(3).astype("<u2").tobytes()),
}
PERSON = {
    0x00100010: (b"PN", b"Zqpatient^Anna"),
    0x00100020: (b"LO", b"ZQPATIENT-77"),
    0x00101001: (b"PN", b"Zqpatient^Other"),
    0x00104000: (b"LT", b"Zqpatient was here"),
}


@dataclass(slots=True)
class Scene:
    """What is left when the play is over."""

    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    messages: list[bytes] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    other_files: dict[str, str] = field(default_factory=dict)
    open_to_others: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    was_replaced: bool = False


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    played = Scene()
    with open_umask(), new_site(log="debug") as site:
        with site.running("up") as stack:
            assert stack.port
            _play(stack, _props(tmp_path_factory.mktemp("props")), played)
            played.open_to_others = open_to_others(site.home)
        played.log = stack.text()
        _look_around(site, played)
        yield played


@contextmanager
def open_umask() -> Iterator[None]:
    """Let new files be open to everybody, unless the program that makes them says otherwise."""
    mask = os.umask(0)
    try:
        yield
    finally:
        os.umask(mask)


def _props(folder: Path) -> Path:
    """The objects of the scene: two in order, two odd, one broken, two without a proper UID."""
    odd = {**PERSON, **STUMBLING_BLOCKS, **PICTURE}
    marked = {**odd, 0x00180015: (b"CS", b"CHEST")}
    broken = {**marked, 0x7FE00010: (b"OB", b"\xff\x4f\xff\x51Zqstray^Mary")}
    Made(changes=marked).write(folder / "a-odd.dcm")
    Made(changes=broken, transfer_syntax_uid=JPEG_2000).write(folder / "b-broken.dcm")
    Made(changes=odd | {0x00185101: (b"CS", b"LATERAL")}).write(folder / "b-side.dcm")
    Made(changes={**marked, 0x0020000D: (b"UI", NAME)}).write(folder / "c-study.dcm")
    Made(changes={**marked, 0x0020000E: (b"UI", NAME)}).write(folder / "d-series.dcm")
    for name in ("e-first.dcm", "f-killed.dcm"):
        study = make_study(folder, PatientName="Zqpatient^Anna", PatientID="ZQPATIENT-77", SeriesDescription=STRAY)
        study.files[0].rename(folder / name)
    return folder


def _play(stack: Running, props: Path, played: Scene) -> None:
    site = stack.site
    *first, last = sorted(props.iterdir())
    boss, _ = _workers(stack)
    boss.suspend()
    played.statuses = [result.status for result in send(first, LOCAL, stack.port)]
    wait_until(lambda: site.query("SELECT count(*) AS n FROM task")[0]["n"] >= 4, 60, "a task for every film")
    played.messages += wait_until(lambda: _messages(site), 60, "a hint")
    boss.resume()
    site.wait_terminal(4)
    _, child = _workers(stack)
    wait_until(lambda: _is_held(child, site), 30, "the worker's child to be held outside a transaction")
    send([last], LOCAL, stack.port)
    wait_until(lambda: b"unacked" in _keys(site), 60, "the worker to take the message")
    played.messages += _messages(site)
    child.kill()
    site.wait_terminal(5)
    played.was_replaced = _workers(stack)[1].pid != child.pid
    for verb, *arguments in (("ingest", str(props)), ("classify", str(props)), ("rerun", "--all", "--why", "a test")):
        done = site.run(verb, *arguments, "--json", check=None)
        played.outputs[verb] = done.stdout + done.stderr
    for verb, *arguments in (("worklist",), ("show", new_uid())):
        played.outputs[verb] = site.run(verb, *arguments, check=None).stderr


def _workers(stack: Running) -> tuple[psutil.Process, psutil.Process]:
    """The Celery worker and its child, once the child says in SQL that it lives."""
    (pid,) = wait_until(
        lambda: [row["pid"] for row in stack.site.query("SELECT pid FROM worker") if psutil.pid_exists(row["pid"])],
        90,
        "a worker's heartbeat",
    )
    child = psutil.Process(pid)
    boss = child.parent()
    assert boss is not None
    return boss, child


def _is_held(process: psutil.Process, site: Site) -> bool:
    """Stop a process; one that is stopped while it writes would keep everybody else from writing, and goes on."""
    process.suspend()
    with closing(sqlite3.connect(site.home / "auscult.db", timeout=0.2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.resume()
            return False
        connection.execute("ROLLBACK")
    return True


def _client(site: Site) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(site.home / "run" / "broker.sock"))


def _keys(site: Site) -> list[bytes]:
    with _client(site) as client:
        return list(client.keys("*"))


def _messages(site: Site) -> list[bytes]:
    """Everything in the broker: queues, and what a worker has taken and not acknowledged."""
    found: list[bytes] = []
    with _client(site) as client:
        for key in client.keys("*"):
            kind = client.type(key)
            if kind == b"list":
                found += client.lrange(key, 0, -1)
            elif kind == b"hash":
                found += client.hvals(key)
    return found


def _look_around(site: Site, played: Scene) -> None:
    for name in (*TABLES, *VIEWS):
        played.rows[name] = [dict(row) for row in site.query(f"SELECT * FROM {name}")]
    below = [path.relative_to(site.home) for path in site.home.rglob("*")]
    played.names = [str(path) for path in below]
    kept = ("store", "films", "spool/new", "spool/quarantine", "auscult.db")
    for path in below:
        if (site.home / path).is_file() and not str(path).startswith(kept):
            played.other_files[str(path)] = (site.home / path).read_text(encoding="utf-8", errors="replace")


def marked(text: object) -> bool:
    """Whether a marker stands in a text, whatever its case."""
    return any(marker in str(text).lower() for marker in MARKERS)


def marked_columns(rows: Sequence[dict[str, Any]]) -> set[str]:
    """The columns in which a marker stands."""
    return {name for row in rows for name, value in row.items() if marked(value)}


def test_the_scene_was_played_to_its_end(scene: Scene) -> None:
    outcomes = {(row["outcome"], row["reason_code"]) for row in scene.rows["result"]}
    assert scene.statuses == [0, 0, 0, 0xC211, 0xC212, 0]
    assert outcomes == {("OK", None), ("BAD_INPUT", "DECODE_FAILED"), ("NOT_APPLICABLE", "LATERAL_VIEW")}
    assert {row["reason_code"] for row in scene.rows["refusal"]} == {"INVALID_STUDY_UID", "INVALID_SERIES_UID"}
    assert {row["ai_status"] for row in scene.rows["worklist"]} <= set(TERMINAL)
    assert len([row for row in scene.rows["result"] if row["batch_id"]]) == 5
    assert scene.was_replaced, "the killed worker's child"
    assert "exited with 'signal 9 (SIGKILL)'" in scene.log
    assert "image judged" in scene.log
    assert "object registered" in scene.log


def test_no_log_line_of_any_process_names_the_patient(scene: Scene) -> None:
    assert [line for line in scene.log.splitlines() if marked(line)] == []


@pytest.mark.parametrize("verb", ["ingest", "classify", "rerun", "worklist", "show"])
def test_no_command_says_the_patient_s_name_beside_its_answer(scene: Scene, verb: str) -> None:
    assert [line for line in scene.outputs[verb].splitlines() if marked(line)] == []


def test_broker_messages_say_that_work_waits_and_nothing_else(scene: Scene) -> None:
    bodies = [json.loads(base64.b64decode(_envelope(message)["body"])) for message in scene.messages]
    assert len(bodies) >= 2
    for arguments, keywords, embedded in bodies:
        assert (arguments, keywords) == (["work"], {})
        assert set(embedded.values()) == {None}
    assert not any(marked(message) for message in scene.messages)


def _envelope(message: bytes) -> dict[str, Any]:
    found = json.loads(message)
    # What a worker has taken is kept as [message, exchange, routing key].
    envelope: dict[str, Any] = found[0] if isinstance(found, list) else found
    return envelope


def test_the_patient_s_fields_stand_in_the_table_study(scene: Scene) -> None:
    assert marked_columns(scene.rows["study"]) == {"patient_name", "patient_id"}
    assert not any(STRAY in str(row).lower() for row in scene.rows["study"])


@pytest.mark.parametrize("table", [name for name in TABLES if name != "study"])
def test_no_other_table_holds_anything_of_the_patient(scene: Scene, table: str) -> None:
    assert scene.rows[table] or table == "worker"
    assert marked_columns(scene.rows[table]) == set()


def test_the_views_show_the_patient_s_number_on_the_worklist_alone(scene: Scene) -> None:
    shown = {view: marked_columns(scene.rows[view]) for view in VIEWS}
    of_worklist = {"worklist", "worklist_v3"}
    assert shown == {view: {"patient_id"} if view in of_worklist else set() for view in VIEWS}


def test_no_file_name_below_the_data_folder_names_the_patient(scene: Scene) -> None:
    assert len(scene.names) > 20
    assert [name for name in scene.names if marked(name)] == []


def test_no_file_but_the_stored_objects_and_the_database_holds_the_patient_s_name(scene: Scene) -> None:
    assert "run/broker.log" in scene.other_files
    assert [name for name, text in scene.other_files.items() if marked(text)] == []


def test_files_and_folders_are_for_their_owner_alone_while_everything_runs(scene: Scene) -> None:
    assert scene.open_to_others == []
