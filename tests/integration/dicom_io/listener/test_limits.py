"""Each limit of the listener, over real connections: what the peer gets, what the journal says, and that others go on."""

from __future__ import annotations

import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.listener.door import ECHO_RESERVE
from dicom_io.reasons import Reason
from dicom_io.upper_layer.provider import MAX_REQUEST_BYTES
from tests.support.listening import (
    LOCAL,
    Recorder,
    Served,
    answers,
    association_to,
    listener_process,
    listening,
    store_made,
)
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.waiting import wait_until
from tests.support.wire import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    COMMAND,
    IMPLICIT_LE,
    LAST,
    P_DATA,
    STORE_CONTEXT,
    VERIFICATION,
    Wire,
    element,
    item,
    pdu,
    request,
    store_command,
    store_pdus,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.upper_layer.budget import Budget

pytestmark = pytest.mark.integration

STORAGE = (CR, [EXPLICIT_LE])
ECHO_ONLY = ((VERIFICATION, IMPLICIT_LE),)
INVALID_PARAMETER = (2, 6)
UNSPECIFIED = (2, 0)


def still_works(served: Served, folder: Path) -> bool:
    return answers(served.port) and store_made(served.port, folder, Made())[0] == 0


def test_associations_beyond_the_limit_are_rejected_and_noted(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", max_associations=2) as served:
        with ExitStack() as stack:
            for _ in range(2):
                assert stack.enter_context(association_to(served.port, STORAGE)).is_established
            with Wire(served.port) as wire:
                wire.send(request(calling="THIRD"))
                # Rejected transient, presentation related, local limit exceeded (PS3.8 Table 9-21).
                assert wire.receive() == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))
            assert served.refusals() == [(Reason.TOO_MANY_ASSOCIATIONS, "THIRD", LOCAL, 1)]
        wait_until(lambda: len(served.told.closed) == 2, what="two associations to close")
        assert still_works(served, tmp_path)


def test_one_address_may_not_take_all_associations(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", host="127.0.0.1", max_associations=4, max_per_peer=1) as served:
        with association_to(served.port, STORAGE) as first, association_to(served.port, STORAGE) as second:
            assert first.is_established
            assert second.is_rejected
            with association_to(served.port, STORAGE, bind_address=("127.0.0.2", 0)) as other:
                assert other.is_established
        assert served.refusals() == [(Reason.TOO_MANY_FROM_PEER, "TESTSCU", LOCAL, 1)]


def test_an_echo_is_answered_beyond_the_limits(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", max_associations=1) as served, association_to(served.port, STORAGE) as storing:
        assert storing.is_established
        with ExitStack() as stack:
            echoing = [stack.enter_context(Wire(served.port)) for _ in range(ECHO_RESERVE + 1)]
            told = []
            for wire in echoing:
                wire.send(request(contexts=ECHO_ONLY))
                told.append(wire.receive()[0])
            assert told == [ASSOCIATE_AC] * ECHO_RESERVE + [ASSOCIATE_RJ]
            echoing[0].send(pdu(P_DATA, item(1, COMMAND | LAST, _echo())))
            assert echoing[0].status() == 0
        wait_until(lambda: len(served.told.closed) == ECHO_RESERVE, what="the echoes to end")
        # Whoever asks for more than an echo has to wait, or it would take "no context" for an answer.
        with association_to(served.port, STORAGE, (VERIFICATION, [IMPLICIT_LE])) as both:
            assert both.is_rejected


def _echo() -> bytes:
    return (
        element(0x0002, VERIFICATION.encode() + b"\0")
        + element(0x0100, b"\x30\0")
        + element(0x0110, b"\1\0")
        + element(0x0800, b"\x01\x01")
    )


def test_silent_connections_of_one_address_do_not_keep_others_out(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", max_associations=4, max_per_peer=1) as served, ExitStack() as stack:
        silent = [stack.enter_context(Wire(served.port)) for _ in range(11)]
        assert silent[-1].receive()[0] == 0
        assert (Reason.TOO_MANY_FROM_PEER, "", LOCAL) in {one[:3] for one in served.noted()}
        with association_to(served.port, STORAGE, bind_address=("127.0.0.2", 0)) as other:
            assert other.is_established


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, 5, 7], ids=["request", "release", "abort"])
def test_a_pdu_before_the_association_is_small(kind: int, tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        with Wire(served.port) as wire:
            wire.send(struct.pack(">BxL", kind, MAX_REQUEST_BYTES + 1), bytes(1000))
            source_and_reason = wire.aborted()
        assert source_and_reason == ((2, 2) if kind == 5 else INVALID_PARAMETER)
        expected = Reason.PROTOCOL_ERROR if kind == 5 else Reason.PDU_TOO_LARGE
        assert served.noted() == [(expected, "", LOCAL, 1)]
        assert still_works(served, tmp_path)


def test_a_claim_of_a_gigabyte_costs_no_memory(tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool") as listener:
        store_made(listener.port, tmp_path, Made())
        before = resident(listener.pid)
        for kind in (ASSOCIATE_RQ, P_DATA):
            with Wire(listener.port) as wire:
                if kind == P_DATA:
                    wire.associate()
                wire.send(struct.pack(">BxL", kind, 1 << 30))
                with suppress(OSError):
                    for _ in range(200):
                        wire.send(bytes(1 << 16))
        assert store_made(listener.port, tmp_path, Made())[0] == 0
        assert resident(listener.pid, "VmHWM") - before < 8 << 20
        listener.stop()


def resident(pid: int, field: str = "VmRSS") -> int:
    """Bytes of a process's memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))


@pytest.mark.parametrize(("excess", "taken"), [(0, True), (1, False)], ids=["at the maximum", "above it"])
def test_a_p_data_pdu_keeps_to_the_negotiated_maximum(excess: int, taken: bool, tmp_path: Path) -> None:
    made = Made(pixel_bytes=20000)
    data = made.dataset()
    with listening(tmp_path / "spool", max_pdu=8192) as served, Wire(served.port) as wire:
        wire.associate(calling="LARGE")
        wire.send(store_pdus(made)[0], pdu(P_DATA, item(STORE_CONTEXT, 0, data[: 8192 - 6 + excess])))
        if taken:
            rest = data[8192 - 6 :]
            wire.send(
                pdu(P_DATA, item(STORE_CONTEXT, 0, rest[:8000])),
                pdu(P_DATA, item(STORE_CONTEXT, LAST, rest[8000:16000])),
            )
            assert wire.status() in (0, 0xC210)
            return
        assert wire.aborted() == INVALID_PARAMETER
        assert served.noted() == [(Reason.PDU_TOO_LARGE, "LARGE", LOCAL, 1)]


def test_an_object_over_the_limit_is_answered_and_the_next_one_taken(tmp_path: Path) -> None:
    large, small = Made(pixel_bytes=1_500_000), Made()
    with listening(tmp_path / "spool", max_object_mb=1) as served, Wire(served.port) as wire:
        wire.associate()
        for made, status in ((large, 0xC214), (small, 0), (large, 0xC214), (small, 0)):
            wire.send(*store_pdus(made))
            assert wire.status() == status
        assert [path.parent.name for path in served.leftovers()] == ["new", "new"]
        assert served.reasons() == [Reason.OBJECT_TOO_LARGE] * 2


def test_an_object_far_over_the_limit_is_cut_off(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", max_object_mb=1) as served, Wire(served.port) as wire:
        wire.associate()
        with suppress(OSError):
            wire.send(*store_pdus(Made(pixel_bytes=3 << 20)))
        assert wire.receive()[0] in (7, 0)
        assert served.noted() == [(Reason.OBJECT_TOO_LARGE, "RAW", LOCAL, 1)]
        assert served.leftovers() == []
        assert still_works(served, tmp_path)


def test_memory_is_bounded_while_an_object_over_the_limit_comes_in(tmp_path: Path) -> None:
    with listener_process(tmp_path / "spool", "--object-limit", "4") as listener:
        store_made(listener.port, tmp_path, Made())
        before = resident(listener.pid)
        with Wire(listener.port) as wire:
            wire.associate()
            wire.send(*store_pdus(Made(pixel_bytes=7 << 20)))
            assert wire.status() == 0xC214
        assert resident(listener.pid, "VmHWM") - before < 10 << 20
        listener.stop()


def store_all(wire: Wire, made: Made) -> int:
    wire.associate()
    wire.send(*store_pdus(made))
    return wire.status()


def test_senders_wait_when_their_objects_would_take_too_much_memory_and_all_come_through(tmp_path: Path) -> None:
    first, *others = [Made(pixel_bytes=2 << 20) for _ in range(5)]
    limit = 1 << 20
    with listening(tmp_path / "spool", max_memory_mb=limit >> 20) as served, ExitStack() as stack:
        wires = [stack.enter_context(Wire(served.port)) for _ in others]
        wire = stack.enter_context(Wire(served.port))
        wire.associate()
        *most, end = store_pdus(first)
        wire.send(*most)
        wait_until(lambda: served.budget.total > limit, what="the first object to use the memory up")
        with ThreadPoolExecutor(len(others)) as pool:
            answers_of_others = [pool.submit(store_all, *pair) for pair in zip(wires, others, strict=True)]
            wait_until(lambda: served.budget.is_wanted, what="the others to wait")
            assert served.told.instances == []
            wire.send(end)
            assert wire.status() == 0
            assert [one.result(timeout=30) for one in answers_of_others] == [0] * len(others)
        wait_until(lambda: served.budget.total == 0, what="the memory to be given back")


def test_who_keeps_others_waiting_for_memory_by_silence_is_ended(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", max_memory_mb=1, pdu_timeout_s=0.5) as served:
        with Wire(served.port) as silent, Wire(served.port) as other:
            silent.associate(calling="SILENT")
            silent.send(*store_pdus(Made(pixel_bytes=2 << 20))[:-1])
            wait_until(lambda: served.budget.total > 1 << 20, what="the memory to be used up")
            assert store_all(other, Made(pixel_bytes=2 << 20)) == 0
            assert silent.aborted() == UNSPECIFIED
        assert served.refusals() == [(Reason.ASSOCIATION_TIMED_OUT, "SILENT", LOCAL, 1)]


def test_what_is_held_of_an_object_is_given_back_when_its_sender_leaves(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        with Wire(served.port) as wire:
            wire.associate()
            wire.send(*store_pdus(Made(pixel_bytes=1 << 20))[:-1])
            wait_until(lambda: served.budget.total > 1_000_000, what="the object to be held")
        wait_until(lambda: served.budget.total == 0, what="the memory to be given back")


def test_a_peer_that_does_not_wait_for_answers_is_served_one_by_one(tmp_path: Path) -> None:
    objects = [Made(pixel_bytes=100_000) for _ in range(20)]
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        for number, made in enumerate(objects):
            wire.send(*store_pdus(made, message_id=number + 1))
        assert [wire.status() for _ in objects] == [0] * 20
        assert len(served.spool.keys()) == 20


@pytest.mark.parametrize("associated", [False, True], ids=["the request", "an object"])
def test_a_pdu_has_a_deadline_even_when_it_drips(associated: bool, tmp_path: Path) -> None:
    limits: dict[str, Any] = {"pdu_timeout_s": 0.5} if associated else {"request_timeout_s": 0.5}
    with listening(tmp_path / "spool", **limits) as served, Wire(served.port) as wire:
        drops = request()
        if associated:
            wire.associate(calling="DRIP")
            drops = store_pdus(Made())[1]
        begun = time.monotonic()
        assert wire.drip(drops, pause_s=0.02), "the connection was left open"
        assert time.monotonic() - begun < 10
        assert served.noted() == [(Reason.ASSOCIATION_TIMED_OUT, "DRIP" if associated else "", LOCAL, 1)]


def test_a_silent_connection_is_closed_and_noted(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", request_timeout_s=0.5) as served:
        with Wire(served.port) as wire:
            assert wire.receive()[0] == 0
        assert served.noted() == [(Reason.ASSOCIATION_TIMED_OUT, "", LOCAL, 1)]


def test_a_connection_that_is_opened_and_closed_is_no_refusal(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", request_timeout_s=20.0) as served:
        with Wire(served.port):
            pass
        wait_until(lambda: not served.connections(), what="the connection to end")
        assert served.reasons() == []


@pytest.mark.parametrize("limit", ["network_timeout_s", "association_timeout_s"])
def test_an_association_that_lasts_or_idles_for_too_long_is_ended(limit: str, tmp_path: Path) -> None:
    limits: dict[str, Any] = {limit: 0.5}
    with listening(tmp_path / "spool", **limits) as served, Wire(served.port) as wire:
        wire.associate()
        assert wire.receive()[0] == 7
        assert served.noted() == [(Reason.ASSOCIATION_TIMED_OUT, "RAW", LOCAL, 1)]
        wait_until(lambda: served.told.closed == [(1, False)], what="the association to close")


def test_a_busy_association_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", association_timeout_s=1.0) as served, Wire(served.port) as wire:
        wire.associate()
        answered, begun = 0, time.monotonic()
        while time.monotonic() - begun < 20:
            wire.send(pdu(P_DATA, item(3, COMMAND | LAST, _echo())))
            if wire.receive()[0] != P_DATA:
                break
            answered += 1
        assert answered > 3
        assert served.noted() == [(Reason.ASSOCIATION_TIMED_OUT, "RAW", LOCAL, 1)]


def test_fragments_without_end_are_cut_off(tmp_path: Path) -> None:
    endless = pdu(P_DATA, item(STORE_CONTEXT, COMMAND, store_command("1.2.3") * 20))
    with listening(tmp_path / "spool") as served, Wire(served.port) as wire:
        wire.associate()
        with suppress(OSError):
            for _ in range(1000):
                wire.send(endless)
        assert wire.receive()[0] in (7, 0)
        assert served.noted() == [(Reason.PROTOCOL_ERROR, "RAW", LOCAL, 1)]
        assert still_works(served, tmp_path)


class SlowDisk(Recorder):
    """Takes a while over each object, and remembers the memory that objects took meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.budget: Budget | None = None
        self.held: list[int] = []

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        super().on_instance(key, study_uid, association)
        threading.Event().wait(0.1)
        assert self.budget is not None
        self.held.append(self.budget.total)


def test_a_sender_that_does_not_wait_for_answers_has_one_object_in_memory_at_a_time(tmp_path: Path) -> None:
    objects, disk = [Made(pixel_bytes=1 << 19) for _ in range(4)], SlowDisk()
    with listening(tmp_path / "spool", told=disk) as served, Wire(served.port) as wire:
        disk.budget = served.budget
        wire.associate()
        stream = [pdu for made in objects for pdu in store_pdus(made)]
        sending = threading.Thread(target=wire.send, args=stream)
        sending.start()
        assert [wire.status() for _ in objects] == [0] * 4
        sending.join(timeout=30)
        assert max(disk.held) < 1 << 20
