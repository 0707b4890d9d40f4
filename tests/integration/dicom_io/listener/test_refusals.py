"""Whom and what the listener turns away: the answer on the wire, the line in the journal, and nothing on disk."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from dicom_io.client.association import Caller
from dicom_io.client.echo import echo
from dicom_io.client.peer import Peer
from dicom_io.client.send import send
from dicom_io.errors import PortBusy
from dicom_io.inbox.journal import RefusalKind
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import CannotListen
from dicom_io.listener.options import ListenerOptions
from dicom_io.reasons import Reason
from tests.support.listening import LOCAL, answers, association_to, listener_process, listening, store, store_made
from tests.support.objects import CR, EXPLICIT_LE, Elements, Made, new_uid
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.inbox.draft import Draft
    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration

NAME = b"MARKED^PATIENT^NAME"


def uid_of(value: bytes) -> tuple[bytes, bytes]:
    return b"UI", value


MISSING = (b"", b"")


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        pytest.param({0x0020000D: MISSING}, 0xC211, Reason.INVALID_STUDY_UID, id="study missing"),
        pytest.param({0x0020000D: uid_of(b"")}, 0xC211, Reason.INVALID_STUDY_UID, id="study empty"),
        pytest.param({0x0020000D: uid_of(NAME)}, 0xC211, Reason.INVALID_STUDY_UID, id="study a name"),
        pytest.param({0x0020000D: uid_of(b"1." + b"2" * 63)}, 0xC211, Reason.INVALID_STUDY_UID, id="study too long"),
        pytest.param({0x0020000D: uid_of(b"../../evil")}, 0xC211, Reason.INVALID_STUDY_UID, id="study a path"),
        pytest.param({0x0020000E: MISSING}, 0xC212, Reason.INVALID_SERIES_UID, id="series missing"),
        pytest.param({0x0020000E: uid_of(NAME)}, 0xC212, Reason.INVALID_SERIES_UID, id="series a name"),
        pytest.param({0x00080018: MISSING}, 0xC213, Reason.INVALID_SOP_UID, id="instance missing"),
        pytest.param({0x00080018: uid_of(NAME)}, 0xC213, Reason.INVALID_SOP_UID, id="instance a name"),
        pytest.param({0x00080016: MISSING}, 0xC213, Reason.INVALID_SOP_UID, id="class missing"),
        pytest.param({0x00080018: uid_of(b"1.2.3.4")}, 0xA900, Reason.SOP_MISMATCH, id="another instance"),
        pytest.param(
            {0x00080016: uid_of(b"1.2.840.10008.5.1.4.1.1.2")}, 0xA900, Reason.SOP_MISMATCH, id="another class"
        ),
    ],
)
def test_an_object_with_bad_uids_has_its_own_status(
    changes: Elements, status: int, reason: Reason, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(tmp_path / "spool") as served:
        code, comment = store_made(served.port, tmp_path, Made(changes=changes))
        assert (code, served.leftovers()) == (status, [])
        (record,) = served.journal.drain().records
    assert 0 < len(comment) <= 64
    assert (record.kind, record.reason, record.calling_aet, record.peer) == (
        RefusalKind.OBJECT,
        reason,
        "TESTSCU",
        LOCAL,
    )
    assert "MARKED" not in f"{record}{comment}{[entry.__dict__ for entry in caplog.records]}"


def test_a_good_object_behind_a_bad_one_is_taken(tmp_path: Path) -> None:
    bad, good = Made(changes={0x0020000D: MISSING}), Made()
    with (
        listening(tmp_path / "spool") as served,
        association_to(served.port, (CR, [EXPLICIT_LE])) as association,
    ):
        statuses = [store(association, made.write(tmp_path / "object.dcm"))[0] for made in (bad, good)]
        assert statuses == [0xC211, 0]
        assert len(served.spool.keys()) == 1


@pytest.mark.parametrize(
    "sop_uid",
    [
        pytest.param("1." + "2" * 70, id="longer than a UID may be"),
        pytest.param("MARKED^NAME", id="no UID at all"),
        pytest.param("../../evil", id="a path"),
    ],
)
def test_a_bad_uid_in_the_command_ends_the_object_and_not_the_association(sop_uid: str, tmp_path: Path) -> None:
    good = Made()
    with (
        listening(tmp_path / "spool") as served,
        association_to(served.port, (CR, [EXPLICIT_LE])) as association,
    ):
        bad = Made(sop_uid=sop_uid)
        assert store(association, bad.write(tmp_path / "object.dcm"))[0] == 0xC213
        assert store(association, good.write(tmp_path / "object.dcm"))[0] == 0
        assert [path.parent.name for path in served.leftovers()] == ["new"]


def test_an_unreadable_header_has_its_own_status(tmp_path: Path) -> None:
    class Damaged(Made):
        def dataset(self) -> bytes:
            # A SOP Class UID of 16 MiB: no header has one, so the lengths in it cannot be believed.
            return b"\x08\x00\x16\x00UN\0\0\0\0\0\x01" + bytes(1000)

    with listening(tmp_path / "spool") as served:
        code, comment = store_made(served.port, tmp_path, Damaged())
        assert (code, served.leftovers()) == (0xC210, [])
        assert comment
        assert [record.reason for record in served.journal.drain().records] == [Reason.HEADER_UNREADABLE]


def test_an_error_of_our_own_is_answered_and_logged_without_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Spool):
        def begin(self) -> Draft:
            raise RuntimeError("cannot store MARKED^NAME")

    with listening(tmp_path / "spool", spool=Broken(tmp_path / "spool")) as served:
        assert store_made(served.port, tmp_path, Made())[0] == 0x0110
        assert answers(served.port)
    (crash,) = [record for record in caplog.records if getattr(record, "action", "") == "store_crashed"]
    assert crash.__dict__["error"] == "RuntimeError"
    assert any("streamed.py" in frame for frame in crash.__dict__["frames"])
    assert "MARKED" not in str([record.__dict__ for record in caplog.records])


def test_an_inbox_that_cannot_be_written_has_its_own_status(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        (served.spool.root / "new").rmdir()
        assert store_made(served.port, tmp_path, Made())[0] == 0xA701
        assert list((served.spool.root / "tmp").iterdir()) == []
        (served.spool.root / "new").mkdir()
        assert store_made(served.port, tmp_path, Made())[0] == 0


def test_a_full_disk_is_answered_with_out_of_resources_and_leaves_nothing(tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool", "--file-limit", "100000") as listener:
        assert store_made(listener.port, tmp_path, Made(pixel_bytes=1 << 20))[0] == 0xA700
        left = [path for name in ("new", "tmp") for path in (listener.spool.root / name).iterdir()]
        assert left == []
        assert store_made(listener.port, tmp_path, Made(pixel_bytes=1 << 10))[0] == 0
        assert len(listener.spool.keys()) == 1
        listener.stop()


def test_below_the_low_water_mark_objects_are_turned_away_and_noted_and_echoes_answered(tmp_path: Path) -> None:
    with listening(tmp_path, min_free_mb=1 << 40) as served:
        assert store_made(served.port, tmp_path, Made())[0] == 0xA700
        assert served.spool.keys() == []
        assert [reason for reason, *_ in served.noted()] == [Reason.OUT_OF_RESOURCES]
        assert echo(Peer("AUSCULT", LOCAL, served.port), Caller("TESTSCU")).is_answered


def test_an_inbox_with_as_many_objects_as_may_wait_turns_further_ones_away(tmp_path: Path) -> None:
    with listening(tmp_path, max_waiting_objects=1) as served:
        assert store_made(served.port, tmp_path, Made())[0] == 0
        assert store_made(served.port, tmp_path, Made())[0] == 0xA700
        assert len(served.spool.keys()) == 1
        assert [reason for reason, *_ in served.noted()] == [Reason.OUT_OF_RESOURCES]


def test_an_unknown_calling_ae_is_rejected_and_noted(tmp_path: Path, dcmtk: Peers) -> None:
    with listening(tmp_path, allowed_aets=frozenset({"PACS", "MODALITY1"})) as served:
        done = dcmtk.run("echoscu", "-aet", "INTRUDER", "-aec", "AUSCULT", LOCAL, served.port)
        assert done.returncode != 0
        assert "Calling AE Title Not Recognized" in done.stdout + done.stderr
        assert dcmtk.run("echoscu", "-aet", "MODALITY1", LOCAL, served.port).returncode == 0
        (record,) = served.journal.drain().records
    assert record.kind is RefusalKind.ASSOCIATION
    assert record.reason is Reason.CALLING_AE_NOT_ALLOWED
    assert (record.calling_aet, record.called_aet, record.peer) == ("INTRUDER", "AUSCULT", LOCAL)


def test_the_same_refusal_again_is_not_noted_again(tmp_path: Path) -> None:
    with listening(tmp_path, allowed_aets=frozenset({"PACS"})) as served:
        for calling_aet in ("INTRUDER", "INTRUDER", "OTHER"):
            assert not answers(served.port, calling_aet)
        assert [record.calling_aet for record in served.journal.drain().records] == ["INTRUDER", "OTHER"]


def test_another_called_ae_is_rejected_where_the_setting_says_so(tmp_path: Path, dcmtk: Peers) -> None:
    with listening(tmp_path, check_called_aet=True) as served:
        done = dcmtk.run("echoscu", "-aec", "ARCHIVE", LOCAL, served.port)
        assert "Called AE Title Not Recognized" in done.stdout + done.stderr
        assert dcmtk.run("echoscu", "-aec", "AUSCULT", LOCAL, served.port).returncode == 0
        assert [record.reason for record in served.journal.drain().records] == [Reason.CALLED_AE_NOT_RECOGNISED]


def test_an_address_off_the_list_is_not_let_in(tmp_path: Path, dcmtk: Peers) -> None:
    with listening(tmp_path, allowed_hosts=(ipaddress.ip_network("10.0.0.0/8"),)) as served:
        assert dcmtk.run("echoscu", LOCAL, served.port).returncode != 0
        (record,) = served.journal.drain().records
    assert (record.kind, record.reason, record.peer) == (RefusalKind.ASSOCIATION, Reason.ADDRESS_NOT_ALLOWED, LOCAL)
    with listening(tmp_path, allowed_hosts=(ipaddress.ip_network("127.0.0.0/8"),)) as served:
        assert dcmtk.run("echoscu", LOCAL, served.port).returncode == 0


def test_user_identity_is_refused_unless_the_setting_says_so(tmp_path: Path, dcmtk: Peers) -> None:
    path = Made().write(tmp_path / "object.dcm")
    with listening(tmp_path / "spool") as served:
        done = dcmtk.run("storescu", "-usr", "someone", "-epw", LOCAL, served.port, path)
        assert done.returncode != 0
        assert "Association Rejected" in done.stdout + done.stderr
        assert served.leftovers() == []
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"someone"
    with (
        listening(tmp_path / "spool", accept_user_identity=True) as served,
        association_to(served.port, (CR, [EXPLICIT_LE]), ext_neg=[identity]) as association,
    ):
        assert association.is_established


def test_associations_beyond_the_limit_are_rejected_until_one_ends(tmp_path: Path) -> None:
    context = (CR, [EXPLICIT_LE])
    with listening(tmp_path, max_associations=2) as served:
        with association_to(served.port, context) as first, association_to(served.port, context) as second:
            assert first.is_established
            assert second.is_established
            with association_to(served.port, context) as third:
                assert third.is_rejected
        wait_until(lambda: len(served.told.closed) == 2, what="two associations to close")
        assert answers(served.port)


def test_a_busy_port_and_a_foreign_address_are_told_apart(tmp_path: Path) -> None:
    with listening(tmp_path) as served:
        with pytest.raises(PortBusy), listening(tmp_path, port=served.port):
            pass
        with pytest.raises(CannotListen), listening(tmp_path, host="192.0.2.1", any_caller=True):
            pass


def test_a_peer_that_takes_no_object_of_a_kind_costs_that_kind_only(tmp_path: Path) -> None:
    query = Made(sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1").write(tmp_path / "query.dcm")
    film = Made().write(tmp_path / "film.dcm")
    nothing = tmp_path / "nothing.dcm"
    with listening(tmp_path / "spool") as served:
        results = send([query, film, nothing], LOCAL, served.port)
        assert [(result.status, result.problem) for result in results] == [
            (0x0122, "NOT_ACCEPTED"),
            (0, None),
            (0xC000, "UNREADABLE"),
        ]
        assert [result.problem for result in send([query], LOCAL, served.port)] == ["NOT_ACCEPTED"]


def test_a_file_without_meta_information_is_sent_all_the_same(tmp_path: Path) -> None:
    made = Made(sop_uid=new_uid())
    bare = tmp_path / "bare"
    bare.write_bytes(made.dataset())
    with listening(tmp_path / "spool") as served:
        assert [result.status for result in send([bare], LOCAL, served.port)] == [0]
        (key,) = served.spool.keys()
        assert served.spool.path(key).read_bytes().endswith(made.dataset())


def test_options_without_a_guard_are_refused() -> None:
    from dicom_io.listener.options import HostUnguarded

    with pytest.raises(HostUnguarded):
        ListenerOptions(host="0.0.0.0")
