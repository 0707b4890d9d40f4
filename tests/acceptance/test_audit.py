"""The whole system under an account that owns nothing, its acts in the trail, and the trail at a receiver."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.client.association import Caller
from dicom_io.client.send import send
from dicom_io.network.tls import client_context
from tests.support.accounts import two_accounts
from tests.support.audit_schema import check_message
from tests.support.certificates import Site as Hospital
from tests.support.running import Site
from tests.support.sites import LOCAL, make_study, new_site
from tests.support.syslog import SyslogReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Audited:
    """What a site did, and what its receiver got."""

    site: Site
    events: list[dict[str, Any]]
    receiver: SyslogReceiver
    exported: list[dict[str, Any]]
    study: str

    def of(self, *acts: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["act"] in acts]


@pytest.fixture(scope="module")
def audited(postgres_server: Any) -> Iterator[Audited]:
    folder = Path(tempfile.mkdtemp(prefix="auscult-audit-", dir="/tmp"))
    hospital = Hospital(folder / "tls")
    own = hospital.files("auscult")
    receiver = SyslogReceiver(hospital.files("arr", LOCAL))
    with two_accounts(postgres_server) as accounts, receiver.running(), new_site() as site:
        site.env |= {
            "AUSCULT_DATABASE_URL": accounts.application,
            "AUSCULT_TLS_CERT": str(own.certificate),
            "AUSCULT_TLS_KEY": str(own.key),
            "AUSCULT_TLS_CA": str(own.authorities),
            "AUSCULT_AUDIT_SYSLOG": receiver.url,
        }
        Site(site.home, site.env | {"AUSCULT_OWNER_DATABASE_URL": accounts.owner}).run("migrate")
        study = make_study(folder)
        with site.running("up") as running:
            results = send(study.files, LOCAL, running.port, "AUSCULT", Caller("PACS", client_context(own)))
            assert [result.status for result in results] == [0]
            site.wait_terminal(1)
            site.run("rerun", "--all", "--why", "again")
            site.run("show", study.uid)
            site.run("worklist", "--csv")
        # The receiver has what came before the end of the listener's loop; the command sends the rest.
        site.run("audit", "export")
        site.run("audit", "export", "--jsonl", folder / "audit.jsonl")
        lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
        events = site.json("audit", "list", "--limit", "1000")
        yield Audited(site, [*reversed(events)], receiver, lines, study.uid)


def test_every_act_of_a_day_is_in_the_trail(audited):
    acts = [event["act"] for event in audited.events]
    for act in (
        "PROCESS_STARTED",
        "MODEL_ACTIVATED",
        "STUDY_RECEIVED",
        "RERUN_ORDERED",
        "PATIENT_SHOWN",
        "PROCESS_STOPPED",
    ):
        assert act in acts, acts
    (received,) = audited.of("STUDY_RECEIVED")
    assert (received["who"], received["from_where"], received["study_uid"]) == ("PACS", LOCAL, audited.study)
    started = sorted(event["who"] for event in audited.of("PROCESS_STARTED"))
    assert started == ["auscult listen", "auscult up", "auscult work"]
    assert sorted(event["who"] for event in audited.of("PROCESS_STOPPED")) == started
    (shown,) = audited.of("PATIENT_SHOWN")
    assert shown["study_uid"] == audited.study
    (exported,) = audited.of("STUDIES_EXPORTED")
    assert json.loads(exported["detail"]) == {"command": "worklist", "studies": 1, "form": "csv"}


def test_no_password_is_in_the_trail(audited):
    assert len(audited.of("SETTINGS_CHANGED")) >= 3
    assert ":secret@" not in str(audited.events)


def test_the_receiver_got_every_event_in_order(audited):
    ids = [message.event_id for message in audited.receiver.received]
    # The command's own event about its export is sent by it; what came after is not.
    assert list(dict.fromkeys(ids)) == sorted(set(ids))
    known = [event["event_id"] for event in audited.events]
    assert sorted(set(ids)) == known[: len(set(ids))]
    assert len(set(ids)) >= len(known) - 3
    for message in audited.receiver.received:
        check_message(message.xml)


def test_the_file_has_every_event_once(audited):
    ids = [line["event_id"] for line in audited.exported]
    known = [event["event_id"] for event in audited.events]
    assert ids == known[: len(ids)]
    assert len(ids) >= len(known) - 2


def test_the_processes_ran_under_the_account_that_owns_nothing(audited):
    owners = audited.site.query("SELECT DISTINCT tableowner, current_user FROM pg_tables WHERE schemaname = 'public'")
    assert len(owners) == 1
    assert owners[0]["tableowner"] != owners[0]["current_user"]
