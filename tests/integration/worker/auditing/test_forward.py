"""The audit trail goes to a receiver or a file: whole, in order, resumed after an outage in the middle of a message."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.audit_schema import check_message
from tests.support.certificates import Site as Hospital
from tests.support.database import BOTH, fresh_site
from tests.support.syslog import SyslogReceiver
from tests.support.waiting import wait_until
from worker.addresses import syslog_receiver
from worker.auditing import forward
from worker.auditing.forward import AuditLoop, Forwarder, to_file, to_syslog
from worker.auditing.processes import ProcessTrail
from worker.auditing.syslog import SyslogAway
from worker.database import Database
from worker.db.audit.codes import Act
from worker.db.audit.objects import name_studies
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import read_session_factory
from worker.errors import UsageError
from worker.settings import load_settings

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


@pytest.fixture
def database(site):
    return Database(site.engine, site.sessions, read_session_factory(site.engine))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return Hospital(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def receiver(hospital):
    with SyslogReceiver(hospital.files("arr", "127.0.0.1", "localhost")).running() as running:
        yield running


@pytest.fixture
def files(hospital):
    return hospital.files("auscult")


def add(site, n: int) -> None:
    with site.sessions.begin() as session:
        for _ in range(n):
            record(session, Act.STUDY_RECEIVED, Actor("PACS", "10.0.0.1"), study_uid="1.2", sop_uid="1.2.1")


def ids(site) -> list[int]:
    return [row["id"] for row in site.rows("SELECT id FROM audit_event ORDER BY id")]


def syslog_forwarder(database, receiver, files) -> Forwarder:
    return Forwarder(database, receiver.url, to_syslog(syslog_receiver(receiver.url), files))


def test_events_reach_the_receiver_once_and_in_order(site, database, receiver, files):
    add(site, 3)
    sender = syslog_forwarder(database, receiver, files)
    assert [sender.step(), sender.step()] == [4, 0]
    add(site, 2)
    # Another process goes on where this one stopped.
    assert syslog_forwarder(database, receiver, files).step() == 2
    assert [message.event_id for message in receiver.received] == ids(site)
    for message in receiver.received:
        check_message(message.xml)
        assert (message.pri, message.msgid) == (85, "DICOM+RFC3881")


def test_an_outage_in_the_middle_of_a_message_loses_nothing(site, database, receiver, files, monkeypatch):
    monkeypatch.setattr(forward, "BATCH", 3)
    add(site, 7)
    receiver.failures = 2
    sender = syslog_forwarder(database, receiver, files)
    for _ in range(2):
        with pytest.raises(SyslogAway):
            sender.step()
    assert receiver.received == []
    assert sender.send_until(ids(site)[-1]) == 8
    assert [message.event_id for message in receiver.received] == ids(site)


def test_a_receiver_that_is_away_is_an_error_and_the_next_step_sends(site, database, hospital, files):
    add(site, 1)
    server = SyslogReceiver(hospital.files("arr", "127.0.0.1"))
    sender = syslog_forwarder(database, server, files)
    with server.running():
        assert sender.step() == 2
    add(site, 1)
    with pytest.raises(SyslogAway, match=r"tls://127\.0\.0\.1:\d+: "):
        sender.step()
    assert site.value("SELECT last_event_id FROM audit_export") == ids(site)[-2]


def test_a_receiver_that_closes_without_tls_has_read_all_the_same(site, database, receiver, files):
    receiver.abrupt = 1
    assert syslog_forwarder(database, receiver, files).step() == 1
    assert [message.event_id for message in receiver.received] == ids(site)


def test_a_receiver_with_another_name_or_authority_gets_nothing(database, tmp_path, hospital, files):
    for theirs, ours in (
        (hospital.files("other"), files),
        (Hospital(tmp_path / "foreign").files("arr", "127.0.0.1"), files),
        (hospital.files("arr", "127.0.0.1"), Hospital(tmp_path / "stranger").files("auscult")),
    ):
        with SyslogReceiver(theirs).running() as server:
            with pytest.raises(SyslogAway):
                syslog_forwarder(database, server, ours).step()
            assert server.received == []


def test_what_an_event_names_reaches_receiver_and_file_in_messages_that_fit(site, database, receiver, files, tmp_path):
    for number in range(120):
        site.receive(f"1.2.{number}", f"1.2.{number}.1", patient_id=f"P{number}")
    with site.sessions.begin() as session:
        event_id = record(session, Act.WORKLIST_SHOWN, Actor("ada"), detail={"studies": 120})
        name_studies(session, event_id, [(f"1.2.{number}", 0) for number in range(120)])
    syslog_forwarder(database, receiver, files).send_until(event_id)
    parts = [message.xml for message in receiver.received if message.event_id == event_id]
    assert len(parts) > 1
    named = [one.attrib for part in parts for one in part.iter("ParticipantObjectIdentification")]
    for role, wanted in (
        ("3", {f"1.2.{number}" for number in range(120)}),
        ("1", {f"P{number}" for number in range(120)}),
    ):
        found = [one["ParticipantObjectID"] for one in named if one["ParticipantObjectTypeCodeRole"] == role]
        assert (len(found), set(found)) == (120, wanted)
    for part in parts:
        check_message(part)
    path = tmp_path / "audit.jsonl"
    Forwarder(database, f"file:{path}", to_file(path)).send_until(event_id)
    lines = [line for line in map(json.loads, path.read_text().splitlines()) if line["event_id"] == event_id]
    named = [one["patient_id"] for line in lines for one in line["objects"]]
    assert sorted(named) == sorted(f"P{number}" for number in range(120))
    assert [line["detail"]["part"] for line in lines] == list(range(1, len(lines) + 1))


def test_a_file_gets_every_event_once_and_loses_a_torn_line(site, database, tmp_path):
    path = tmp_path / "audit.jsonl"
    add(site, 2)
    sender = Forwarder(database, f"file:{path}", to_file(path))
    assert sender.step() == 3
    with path.open("ab") as file:
        file.write(b'{"event_id":4,"torn')
    add(site, 1)
    assert sender.step() == 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event_id"] for line in lines] == ids(site)
    assert lines[-1]["act"] == "STUDY_RECEIVED"
    assert lines[-1]["at"].endswith("+00:00")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_loop_of_a_listener_records_its_start_and_sends_it(site, database, receiver, files, tmp_path):
    settings = load_settings(home=tmp_path / "home", quiet_s=10)
    trail = ProcessTrail(settings, site.sessions, "auscult listen")
    loop = AuditLoop(trail, syslog_forwarder(database, receiver, files))
    assert [loop.turn(), loop.turn()] == [False, False]
    trail.note_stop()
    trail.note_stop()
    loop.turn()
    acts = [row["act"] for row in site.rows("SELECT act FROM audit_event ORDER BY id")]
    assert acts == ["MODEL_ACTIVATED", "PROCESS_STARTED", "SETTINGS_CHANGED", "PROCESS_STOPPED"]
    assert [message.event_id for message in receiver.received] == ids(site)


def test_changed_settings_are_told_by_name_and_value_at_the_next_start(site, tmp_path):
    for quiet_s, lease_s in ((10, 60), (10, 60), (20, 30)):
        settings = load_settings(home=tmp_path, quiet_s=quiet_s, lease_s=lease_s)
        ProcessTrail(settings, site.sessions, "auscult listen").note_start()
    # Another data folder on the same machine has settings of its own.
    ProcessTrail(load_settings(home=tmp_path / "b"), site.sessions, "auscult listen").note_start()
    rows = site.rows("SELECT detail FROM audit_event WHERE act = 'SETTINGS_CHANGED' ORDER BY id")
    changed = [json.loads(row["detail"])["changed"] for row in rows]
    assert changed == [{}, {"lease_s": [None, 30.0], "quiet_s": [10.0, 20.0]}, {}]
    assert site.value("SELECT count(*) FROM audit_event WHERE act = 'PROCESS_STARTED'") == 4


#: Steps when it is told to, and waits in the middle of its sending until it is told to go on.
SENDING = """
import sys
from pathlib import Path
from worker.auditing.forward import Forwarder
from worker.database import Database
from worker.db.schema.engine import make_engine, read_session_factory, session_factory
from worker.errors import UsageError

engine = make_engine(sys.argv[1])
database = Database(engine, session_factory(engine), read_session_factory(engine))

def send(events):
    print("sending", flush=True)
    sys.stdin.readline()
    with Path(sys.argv[2]).open("a") as file:
        file.writelines(f"{event['event_id']}\\n" for event in events)

sender = Forwarder(database, "tls://arr:6514", send)
print("ready", flush=True)
while sys.stdin.readline():
    try:
        print(sender.step(), flush=True)
    except UsageError:
        print("another sends", flush=True)
"""


class SendingProcess:
    """A process that forwards the trail of a database into a file, one word at a time."""

    def __init__(self, site, sent: Path) -> None:
        url = site.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", SENDING, url, str(sent)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]
        )

    def __enter__(self) -> SendingProcess:
        assert self.heard() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def heard(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def told(self) -> str:
        """Let it step, or go on with its sending; returns what it says."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.heard()


def test_of_two_processes_on_one_database_one_sends_at_a_time(site, tmp_path):
    add(site, 5)
    sent = tmp_path / "sent"
    with SendingProcess(site, sent) as first, SendingProcess(site, sent) as second:
        assert first.told() == "sending"
        assert second.told() == "another sends"
        assert first.told() == "6"
        assert second.told() == "0"
    assert [int(line) for line in sent.read_text().splitlines()] == ids(site)


def test_a_sender_that_is_killed_holds_the_destination_no_longer(site, database, tmp_path):
    add(site, 2)
    with SendingProcess(site, tmp_path / "sent") as first:
        assert first.told() == "sending"
    sent: list[dict] = []
    sender = Forwarder(database, "tls://arr:6514", sent.extend)
    # PostgreSQL sees the end of a connection a moment later.
    wait_until(lambda: _stepped(sender), 60, "the next process to send")
    assert [event["event_id"] for event in sent] == ids(site)


def _stepped(sender: Forwarder) -> int:
    with suppress(UsageError):
        return sender.step()
    return 0
