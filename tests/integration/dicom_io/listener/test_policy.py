"""Who may call, what is asked of callers, and what the journal tells of them: never more than it should."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from dicom_io.reasons import Reason
from tests.support.listening import LOCAL, answers, association_to, listening, store_made
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.waiting import wait_until
from tests.support.wire import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    COMMAND,
    LAST,
    P_DATA,
    STORE_CONTEXT,
    Wire,
    element,
    item,
    pdu,
    request,
    store_command,
    uid,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NAME = "MARKED^NAME"
KINDS = {1: "user name", 2: "user name and passcode", 3: "Kerberos", 4: "SAML", 5: "JSON Web Token"}


def identity(kind: int) -> UserIdentityNegotiation:
    asked = UserIdentityNegotiation()
    asked.user_identity_type, asked.primary_field = kind, NAME.encode()
    asked.positive_response_requested = True
    if kind == 2:
        asked.secondary_field = b"MARKED-PASSCODE"
    return asked


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("accepted", [False, True], ids=["by default", "where the setting says so"])
def test_user_identity(kind: int, accepted: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        listening(tmp_path / "spool", accept_user_identity=accepted) as served,
        Wire(served.port) as wire,
    ):
        wire.send(request(identity=identity(kind)))
        answer, body = wire.receive()
        # Rejected transient, by the service provider (ACSE), no reason given (PS3.8 Table 9-21).
        assert answer == (ASSOCIATE_AC if accepted else ASSOCIATE_RJ)
        assert accepted or body == bytes([0, 2, 2, 1])
        assert accepted or served.noted() == [(Reason.USER_IDENTITY_REJECTED, "RAW", LOCAL, 1)]
    assert served.journal.drain().records == () or not accepted
    assert "MARKED" not in str([record.__dict__ for record in caplog.records])


def test_an_association_with_no_service_of_ours_is_noted(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        with association_to(served.port, ("1.2.840.10008.5.1.4.1.2.2.1", ["1.2.840.10008.1.2"])) as association:
            assert association.rejected_contexts
        assert served.refusals() == [(Reason.NO_CONTEXT_ACCEPTED, "TESTSCU", LOCAL, 1)]


def test_an_echo_does_not_need_a_disk(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        for folder in ("new", "tmp"):
            (served.root / folder).rmdir()
        assert store_made(served.port, tmp_path, Made())[0] == 0xA701
        assert answers(served.port)


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        pytest.param("EVIL\nLINE", "EVIL?LINE", id="a line break"),
        pytest.param("\x1b[31mRED", "??31mRED", id="a terminal's escape"),
        pytest.param("DOE^JANE", "DOE?JANE", id="the form of a name"),
        pytest.param("<b>X</b>", "?b?X??b?", id="markup"),
        pytest.param("A\\B", "A?B", id="a backslash"),
        pytest.param("CT 1_a-b.c", "CT 1_a-b.c", id="what titles are made of"),
    ],
)
def test_titles_are_noted_without_what_could_harm(
    title: str, shown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called = request(calling="CALLING_TITLE_XX").replace(b"CALLING_TITLE_XX", title.ljust(16).encode())
    with listening(tmp_path, allowed_aets=frozenset({"PACS"})) as served, Wire(served.port) as wire:
        wire.send(called)
        wire.receive()
        assert [one[1] for one in served.noted()] in ([shown], [""])
    told = json.dumps([record.__dict__ for record in caplog.records], default=str)
    assert json.dumps(title)[1:-1] not in told or title == shown


def test_repeats_are_counted_and_the_last_ones_noted_when_the_listener_stops(tmp_path: Path) -> None:
    with listening(tmp_path, allowed_aets=frozenset({"PACS"})) as served:
        for _ in range(5):
            assert not answers(served.port, calling_aet="INTRUDER")
        assert served.noted() == [(Reason.CALLING_AE_NOT_ALLOWED, "INTRUDER", LOCAL, 1)]
        served.journal.ack(served.journal.drain())
    assert served.refusals() == [(Reason.CALLING_AE_NOT_ALLOWED, "INTRUDER", LOCAL, 4)]


def without(number: int) -> bytes:
    """A C-STORE-RQ that lacks an element, or has an empty one."""
    whole = store_command("1.2.3")
    parts = {
        0x0002: element(0x0002, uid(CR)),
        0x1000: element(0x1000, uid("1.2.3")),
    }
    return whole.replace(parts[number], element(number, b""))


def test_a_request_without_priority_is_served(tmp_path: Path) -> None:
    made = Made()
    command = store_command(made.sop_uid).replace(element(0x0700, b"\2\0"), b"")
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, command)))
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, LAST, made.dataset())))
        assert wire.status() == 0


@pytest.mark.parametrize("number", [0x0002, 0x1000], ids=["class", "instance"])
def test_a_request_with_an_empty_uid_is_answered(number: int, tmp_path: Path) -> None:
    made = Made()
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, without(number))))
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, LAST, made.dataset())))
        assert wire.status() == 0xC213
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(made.sop_uid))))
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, LAST, made.dataset())))
        assert wire.status() == 0
        assert served.reasons() == [Reason.INVALID_SOP_UID]


def test_a_request_without_its_data_set_is_answered(tmp_path: Path) -> None:
    command = store_command("1.2.3").replace(element(0x0800, b"\1\0"), element(0x0800, b"\x01\x01"))
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, command)))
        assert wire.status() == 0xC211
        assert served.reasons() == [Reason.INVALID_STUDY_UID]


def test_a_request_that_cannot_be_answered_ends_the_association(tmp_path: Path) -> None:
    command = store_command("1.2.3").replace(element(0x0110, b"\1\0"), b"")
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, command)))
        wire.send(pdu(P_DATA, item(STORE_CONTEXT, LAST, b"")))
        wire.aborted()
        assert served.reasons() == [Reason.PROTOCOL_ERROR]
        wait_until(lambda: served.told.closed, what="the association to close")


def test_a_peer_learns_why_it_is_aborted(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        for sent, why in ((request(), (2, 2)), (pdu(9), (2, 1)), (pdu(P_DATA, b"\0"), (2, 6))):
            with Wire(served.port) as wire:
                wire.associate()
                wire.send(sent)
                assert wire.aborted() == why
        assert [one[:3] for one in served.noted()] == [(Reason.PROTOCOL_ERROR, "RAW", LOCAL)]


def test_an_unused_context_is_none(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate(contexts=((CR, EXPLICIT_LE),))
        wire.send(pdu(P_DATA, item(5, COMMAND | LAST, store_command("1.2.3"))))
        assert wire.aborted() == (2, 6)
        assert served.reasons() == [Reason.PROTOCOL_ERROR]
