"""Another maker's receiver, rsyslog, takes the messages of the audit trail over TLS, whole."""

from __future__ import annotations

import socket
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.support.certificates import Site as Hospital
from tests.support.peers import provided
from tests.support.servers import free_port
from tests.support.syslog import Received
from tests.support.waiting import wait_until
from worker.addresses import SyslogReceiver
from worker.auditing.message import syslog_message
from worker.auditing.syslog import SyslogAway, deliver

pytestmark = pytest.mark.integration

CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="to_file") {{ action(type="omfile" file="{out}" template="raw") }}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="to_file")
"""


def event(number: int) -> dict:
    return {
        "event_id": number,
        "at": datetime(2026, 1, 2, 3, 4, 5, number, tzinfo=UTC),
        "act": "STUDY_RECEIVED",
        "event_code": "110104",
        "event_type_code": "",
        "action": "C",
        "outcome": 0,
        "who": "PACS Müller",
        "from_where": "10.0.0.1",
        "study_uid": "1.2.3",
        "side": 0,
        "patient_id": "P1",
        "issuer_of_patient_id": "",
        "patient_key": "",
        "sop_uid": "1.2.3.4",
        "detail": "{}",
    }


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def delivers(port: int, hospital: Hospital, messages: list[bytes]) -> bool:
    """Send a batch; rsyslog resets a closed connection now and then, and the batch counts as undelivered."""
    try:
        deliver(SyslogReceiver("127.0.0.1", port), hospital.files("auscult"), messages)
    except SyslogAway:
        return False
    return True


def lines_of(out: Path) -> list[bytes]:
    """The whole lines of a file that may not be there yet."""
    return out.read_bytes().split(b"\n")[:-1] if out.exists() else []


def modules_of(program: str) -> Path:
    """The folder of rsyslog's modules, beside the program or of the system."""
    root = Path(program).resolve().parents[2]
    found = next((path.parent for path in (root / "usr" / "lib").glob("*/rsyslog/lmnsd_ossl.so")), None)
    if found is None:
        pytest.skip("this rsyslog has no OpenSSL (Debian's rsyslog-openssl)")
    return found


def test_rsyslog_writes_every_message_as_it_was_sent(tmp_path):
    rsyslog = provided(("rsyslogd",), ("rsyslog", "rsyslog-openssl"))
    hospital = Hospital(tmp_path / "tls")
    theirs, port, out = hospital.files("arr", "127.0.0.1"), free_port(), tmp_path / "out.log"
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        CONFIG.format(
            folder=tmp_path, ca=theirs.authorities, cert=theirs.certificate, key=theirs.key, port=port, out=out
        )
    )
    program = rsyslog.programs["rsyslogd"]
    command = [program, "-n", "-f", config, "-i", tmp_path / "pid", "-M", modules_of(program)]
    with (tmp_path / "rsyslog.log").open("wb") as log:
        server = subprocess.Popen(list(map(str, command)), env=rsyslog.environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port), 60, "rsyslog to listen")
        sent = [syslog_message(event(number)) for number in range(1, 21)]
        for part in (sent[:10], sent[10:]):
            wait_until(partial(delivers, port, hospital, part), 60, "a batch that was read")
        # After a reset the batch is there twice, and its last message the first time perhaps only in part.
        wait_until(lambda: set(sent) <= set(lines_of(out)), 60, "every message in its file as it was sent")
        assert {Received.of(line).event_id for line in lines_of(out) if line in sent} == set(range(1, 21))
    finally:
        server.terminate()
        server.wait(60)
