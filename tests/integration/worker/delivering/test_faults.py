"""Results reach an archive once and whole whatever happens on the way: the table of faults, on both databases."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import create_engine, text

from tests.support.archive import HEAT_MAP, REPORT, Archive
from tests.support.running import role
from tests.support.sites import new_site, new_stack
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydicom.dataset import Dataset

    from tests.support.running import Running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

QUICK = {"deliver_backoff_s": "0.3", "deliver_limit_s": "40", "deliver_commitment_s": "1", "quiet_s": "0.2"}
#: What became of each fault, as docs/delivery.md has it; printed at the end.
TABLE: list[tuple[str, str, str, str]] = []


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param == "sqlite":
        with new_stack(**QUICK) as running:
            yield running
        return
    server = request.getfixturevalue("postgres_server")
    url = server.create_database()
    with new_site(**QUICK, database_url=url) as site:
        site.run("migrate")
        with site.running("up") as running:
            assert running.port
            yield running
    server.drop_database(url)


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print what became of each fault, on a terminal that there may not be."""
    yield
    plugins = request.config.pluginmanager
    reporter, capture = plugins.getplugin("terminalreporter"), plugins.getplugin("capturemanager")
    if reporter and capture:
        with capture.global_and_fixture_disabled():
            reporter.write_line("")
            for line in TABLE:
                reporter.write_line("| " + " | ".join(line) + " |")


@contextmanager
def told(stack: Running, archive: Archive, *options: str) -> Iterator[str]:
    """A destination of its own for the archive; its name."""
    name = f"archive-{archive.port}"
    stack.site.run("deliver", "add", name, archive.address, "--why", "a test", *options)
    try:
        yield name
    finally:
        archive.stop()
        stack.site.run("deliver", "remove", name, "--why", "the test is over")


def sent(stack: Running, **elements: Any) -> Dataset:
    ds = chest_film(0.3, PatientID="4711", PatientName="Doe^Jane", **elements)
    push([ds], stack.port)
    return ds


def rows_of(stack: Running, ds: Dataset, name: str) -> list[Mapping[str, Any]]:
    return stack.site.query(
        "SELECT * FROM deliveries WHERE study_uid = :uid AND destination = :name ORDER BY number",
        uid=ds.StudyInstanceUID,
        name=name,
    )


def row(stack: Running, ds: Dataset, name: str, *states: str, reason: str | None = None) -> Mapping[str, Any]:
    """The last delivery of a study to a destination, once it is in one of these states, or failed for this reason."""

    def found() -> Mapping[str, Any] | None:
        rows = rows_of(stack, ds, name)
        if not rows or (states and rows[-1]["state"] not in states):
            return None
        return rows[-1] if reason is None or rows[-1]["reason"] == reason else None

    try:
        return wait_until(found, 120, f"a delivery in {states}, {reason}")
    except AssertionError as error:
        raise AssertionError(_state_of(stack, ds, name)) from error


def _state_of(stack: Running, ds: Dataset, name: str) -> str:
    answer = stack.site.worklist().get(ds.StudyInstanceUID, {})
    return f"{rows_of(stack, ds, name)}\n{dict(answer)}\n{stack.text()[-4000:]}"


def change(stack: Running, statement: str) -> None:
    engine = create_engine(stack.site.database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def recorded(stack: Running, delivery_id: int) -> list[str]:
    (found,) = stack.site.query("SELECT objects FROM delivery WHERE id = :id", id=delivery_id)
    return sorted(item["sop_uid"] for item in json.loads(found["objects"]))


def sender_of(stack: Running, name: str) -> psutil.Process:
    """The process that sends to a destination."""
    (row,) = stack.site.query("SELECT id FROM destination WHERE name = :name", name=name)
    title = f"auscult deliver {row['id']}"
    (found,) = [each for each in stack.descendants() if _title(each) == title]
    return found


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        # Ended by now, or about to be.
        return ""


def note(stack: Running, fault: str, ended: Mapping[str, Any], archive: Archive) -> None:
    database = "PostgreSQL" if "AUSCULT_DATABASE_URL" in stack.site.env else "SQLite"
    what = f"{ended['state']}{' ' + ended['reason'] if ended['reason'] else ''}, {ended['attempts']} attempts"
    TABLE.append((fault, database, what, f"{', '.join(archive.kinds())}: each once; 1 row"))


def check(stack: Running, ds: Dataset, name: str, archive: Archive, ended: Mapping[str, Any], fault: str) -> None:
    """The archive has exactly the objects of the one row, and the act of sending is audited."""
    assert len(rows_of(stack, ds, name)) == 1
    assert sorted(archive.objects) == recorded(stack, ended["delivery_id"])
    assert archive.kinds() == ["HEAT_MAP", "REPORT"]
    assert ended["report_uid"] in archive.objects
    events = stack.site.query(
        "SELECT sop_uid, outcome FROM audit WHERE act = 'RESULT_DELIVERED' AND study_uid = :uid",
        uid=ds.StudyInstanceUID,
    )
    assert {event["sop_uid"] for event in events} == {ended["report_uid"]}
    assert 0 in {event["outcome"] for event in events}
    note(stack, fault, ended, archive)


def test_a_peer_that_is_away_gets_the_result_when_it_is_back(stack: Running) -> None:
    archive = Archive()
    with told(stack, archive, "--heat-map") as name:
        ds = sent(stack)
        row(stack, ds, name, reason="PEER_AWAY")
        archive.start()
        check(stack, ds, name, archive, row(stack, ds, name, "DELIVERED"), "peer away")


def test_a_peer_that_refuses_gets_the_result_when_it_no_longer_does(stack: Running) -> None:
    archive = Archive(commits="same")
    archive.refuse(everybody=True)
    archive.start()
    with told(stack, archive, "--heat-map") as name:
        ds = sent(stack)
        row(stack, ds, name, reason="ASSOCIATION_REFUSED")
        archive.refuse(everybody=False)
        check(stack, ds, name, archive, row(stack, ds, name, "CONFIRMED"), "peer refuses")


def test_a_peer_that_never_commits_is_asked_again_and_keeps_what_it_took(stack: Running) -> None:
    archive = Archive(commits="never")
    archive.start()
    with told(stack, archive, "--heat-map") as name:
        ds = sent(stack)
        row(stack, ds, name, "UNCONFIRMED")
        wait_until(lambda: archive.asked > 1, 60, "the archive to be asked again")
        change(stack, "UPDATE delivery SET give_up_ms = 0 WHERE state IN ('UNCONFIRMED', 'CLAIMED')")
        ended = row(stack, ds, name, "DELIVERED", reason="COMMITMENT_MISSING")
        check(stack, ds, name, archive, ended, "peer accepts, never commits")
        assert set(archive.stores.values()) == {1}


@pytest.mark.parametrize("at", [HEAT_MAP, REPORT], ids=["at the first object", "at the last object"])
def test_a_sender_that_is_killed_in_mid_send_sends_the_same_again(stack: Running, at: str) -> None:
    archive = Archive(commits="same")
    archive.stalls_at = at
    archive.start()
    with told(stack, archive, "--heat-map") as name:
        ds = sent(stack)
        assert archive.stalled.wait(100), stack.text()[-3000:]
        os.kill(sender_of(stack, name).pid, signal.SIGKILL)
        archive.stalls_at = ""
        archive.released.set()
        ended = row(stack, ds, name, "CONFIRMED")
        which = "first" if at == HEAT_MAP else "last"
        check(stack, ds, name, archive, ended, f"killed (SIGKILL) in mid-send, at the {which} object")
        assert ended["attempts"] > 1


def test_a_sender_that_is_killed_with_its_listener_is_followed_at_once_and_not_after_its_lease(stack: Running) -> None:
    archive = Archive(commits="same")
    archive.stalls_at = REPORT
    archive.start()
    with told(stack, archive, "--heat-map") as name:
        ds = sent(stack)
        assert archive.stalled.wait(100), stack.text()[-3000:]
        # Longer than this test waits.
        change(stack, "UPDATE delivery SET lease_until_ms = lease_until_ms + 3600000 WHERE state = 'CLAIMED'")
        (listener,) = [each for each in stack.descendants() if role(each) == "listen"]
        listener.kill()
        archive.stalls_at = ""
        archive.released.set()
        ended = row(stack, ds, name, "CONFIRMED")
        check(stack, ds, name, archive, ended, "the listener is killed (SIGKILL) in mid-send")
        assert ended["attempts"] > 1


def test_a_peer_that_hangs_holds_back_no_other(stack: Running) -> None:
    hanging, well = Archive(), Archive()
    hanging.stalls_at = HEAT_MAP
    hanging.start()
    well.start()
    with told(stack, hanging, "--heat-map") as stuck, told(stack, well, "--heat-map") as name:
        ds = sent(stack)
        assert hanging.stalled.wait(100), stack.text()[-3000:]
        check(stack, ds, name, well, row(stack, ds, name, "DELIVERED"), "another peer hangs")
        assert rows_of(stack, ds, stuck)[-1]["state"] in ("CLAIMED", "PENDING")


def test_an_object_that_is_refused_for_good_waits_for_a_person(stack: Running) -> None:
    archive = Archive()
    archive.status = 0xA900
    archive.start()
    with told(stack, archive) as name:
        ds = sent(stack)
        failed = row(stack, ds, name, "FAILED", reason="OBJECT_REFUSED")
        assert "OBJECT_REFUSED" in stack.site.run("deliver", "list", "--to", name, "--state", "failed").stdout
        assert any(probe["probe"] == "DELIVERY" and probe["level"] == "WARN" for probe in _probes(stack))
        archive.status = 0
        stack.site.run("deliver", "retry", "--to", name, "--why", "the archive was set right")
        ended = row(stack, ds, name, "DELIVERED")
        assert (ended["delivery_id"], archive.kinds()) == (failed["delivery_id"], ["REPORT"])


def _probes(stack: Running) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = stack.site.json("status", check=None)["probes"]
    return found


def test_an_archive_that_does_not_have_it_after_all_is_sent_it_again(stack: Running) -> None:
    archive = Archive(commits="failed")
    archive.start()
    with told(stack, archive) as name:
        ds = sent(stack)
        row(stack, ds, name, reason="NOT_COMMITTED")
        archive.commits = "same"
        ended = row(stack, ds, name, "CONFIRMED")
        assert archive.stores[ended["report_uid"]] > 1
