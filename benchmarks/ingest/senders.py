"""Replays objects over associations byte by byte, so that the sender costs as little as it can beside the receiver."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.film import SMALL, drawn, write_film
from dicom_io.header.part10 import read_preface
from dicom_io.header.reader import read_facts
from dicom_io.network.connection import send_at_once
from tests.support.wire import (
    ASSOCIATE_AC,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RQ,
    STORE_CONTEXT,
    Wire,
    item,
    pdu,
    request,
    store_command,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: Bytes of a P-DATA-TF, as tuned senders use.
PDU_BYTES = 131072
_JPEG_2000 = "1.2.840.10008.1.2.4.90"


@dataclass(frozen=True, slots=True)
class Template:
    """An object whose SOP Instance UID is changed for each copy."""

    name: str
    data: bytes
    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str

    def copies(self, numbers: Iterable[int]) -> list[tuple[bytes, bytes]]:
        """An object for each number as bytes of the wire: the PDUs that hold its UID, and the others, which all share."""
        return [self._copy(number) for number in numbers]

    def request(self) -> bytes:
        """The A-ASSOCIATE-RQ that proposes it."""
        return request(contexts=((self.sop_class_uid, self.transfer_syntax_uid),))

    def _copy(self, number: int) -> tuple[bytes, bytes]:
        uid = self.sop_uid[:-9] + f"{number:09d}"
        step = PDU_BYTES - 6
        first = self.data[:step].replace(self.sop_uid.encode(), uid.encode())
        command = pdu(P_DATA, item(STORE_CONTEXT, COMMAND | LAST, store_command(uid, self.sop_class_uid)))
        return command + _fragment(first, is_last=len(self.data) <= step), self._rest()

    def _rest(self) -> bytes:
        if self not in _RESTS:
            step = PDU_BYTES - 6
            starts = range(step, len(self.data), step)
            _RESTS[self] = b"".join(
                _fragment(self.data[at : at + step], is_last=at + step >= len(self.data)) for at in starts
            )
        return _RESTS[self]


_RESTS: dict[Template, bytes] = {}


def templates(folder: Path) -> list[Template]:
    """The three objects of the table: uncompressed, encapsulated, small."""
    noise = np.random.default_rng(1)
    code = noise.bytes(3_600_000)
    return [
        _template("10 MB", write_film(folder / "large.dcm", drawn((2500, 2048), letters=False))),
        _template("3.6 MB", write_film(folder / "code.dcm", drawn(SMALL, letters=False), _JPEG_2000, code)),
        _template(".26 MB", write_film(folder / "small.dcm", (drawn(SMALL, letters=False) >> 4).astype(np.uint8))),
    ]


def push(port: int, template: Template, objects: Sequence[tuple[bytes, bytes]], associations: int) -> None:
    """Send objects over so many associations at once; each sender waits for each answer.

    Raises
    ------
    RuntimeError
        If an object is not answered with success.
    """
    failed: list[BaseException] = []

    def send(mine: Sequence[tuple[bytes, bytes]]) -> None:
        try:
            with Wire(port) as wire:
                send_at_once(wire.socket)
                wire.send(template.request())
                kind, _ = wire.receive()
                if kind != ASSOCIATE_AC:
                    raise RuntimeError(f"PDU type {kind} and no association")
                for first, rest in mine:
                    wire.socket.sendall(first)
                    wire.socket.sendall(rest)
                    if (status := wire.status()) != 0:
                        raise RuntimeError(f"status 0x{status:04X}")
                wire.send(pdu(RELEASE_RQ))
                wire.receive()
        except Exception as exc:  # noqa: BLE001 - handed to the caller
            failed.append(exc)

    threads = [threading.Thread(target=send, args=(objects[number::associations],)) for number in range(associations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{len(failed)} associations failed") from failed[0]


def _fragment(data: bytes, *, is_last: bool) -> bytes:
    return pdu(P_DATA, item(STORE_CONTEXT, LAST if is_last else 0, data))


def _template(name: str, path: Path) -> Template:
    facts = read_facts(path)
    with path.open("rb") as file:
        file.seek(read_preface(file).offset)
        data = file.read()
    return Template(name, data, facts.sop_class_uid, facts.sop_uid, facts.transfer_syntax_uid)
