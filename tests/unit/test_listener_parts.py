"""The listener's parts without a network: options, statuses, negotiation, file meta information, batches."""

from __future__ import annotations

import io
import ipaddress
from typing import TYPE_CHECKING

import pytest
from pydicom.filereader import dcmread

from dicom_io.associate import ProposedContext
from dicom_io.file_meta import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    ObjectUids,
    Sender,
    encode_file_meta,
)
from dicom_io.negotiation import answer_to, by_preference, is_storage
from dicom_io.options import HostUnguarded, ListenerOptions, ListenerOptionsInvalid, is_loopback
from dicom_io.outgoing import batches, outgoing_of
from dicom_io.status import StoreStatus
from tests.objects import Made

if TYPE_CHECKING:
    from pathlib import Path

VERIFICATION = "1.2.840.10008.1.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_guard(host: str) -> None:
    assert ListenerOptions(host=host).host == host
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "pacs.example"])
def test_another_host_needs_a_guard(host: str) -> None:
    with pytest.raises(HostUnguarded, match="any_caller"):
        ListenerOptions(host=host)
    ListenerOptions(host=host, any_caller=True)
    ListenerOptions(host=host, allowed_aets=frozenset({"PACS"}))
    ListenerOptions(host=host, allowed_hosts=(ipaddress.ip_network("192.0.2.0/24"),))


@pytest.mark.parametrize(
    "options",
    [
        {"ae_title": ""},
        {"ae_title": "A" * 17},
        {"ae_title": " AUSCULT"},
        {"ae_title": "A\\B"},
        {"ae_title": "RÖNTGEN"},
        {"allowed_aets": frozenset({"A\nB"})},
        {"allowed_aets": frozenset({""})},
        {"allowed_aets": frozenset({"É" * 17})},
        {"port": 65536},
        {"port": -1},
        {"max_associations": 0},
        {"max_pdu": 0},
        {"network_timeout_s": 0.0},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ListenerOptionsInvalid):
        ListenerOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "allowed"),
    [
        pytest.param(b"PACS", True, id="ASCII"),
        pytest.param("RADIOLOGÍA".encode("latin-1"), True, id="ISO 8859-1"),
        pytest.param("RADIOLOGÍA".encode(), True, id="UTF-8"),
        pytest.param(b"RADIOLOGIA", False, id="transliterated"),
        pytest.param(b"RADIOLOGA", False, id="without what is not ASCII"),
        pytest.param("RADIOLOGÍA".encode("cp850"), False, id="another character set"),
        pytest.param(b"pacs", False, id="lower case"),
        pytest.param(b"PACS\0OTHER", False, id="something behind a NUL"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_calling_titles_are_compared_byte_by_byte(title: bytes, allowed: bool) -> None:
    assert ListenerOptions(allowed_aets=frozenset({"PACS", "RADIOLOGÍA"})).allows(title) is allowed
    assert ListenerOptions().allows(title)


@pytest.mark.parametrize(
    ("address", "admitted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("fe80::1%eth0", True), ("fd00::1", False)],
)
def test_addresses_are_admitted_by_network(address: str, admitted: bool) -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10"))
    assert ListenerOptions(allowed_hosts=networks).admits(address) is admitted
    assert ListenerOptions().admits(address)


def test_each_status_has_a_number_and_words_of_its_own() -> None:
    assert len({status.code for status in StoreStatus}) == len(StoreStatus)
    for status in StoreStatus:
        assert len(status.comment) <= 64
        assert status.sentence.endswith(".")
        assert (status is StoreStatus.SUCCESS) == (status.comment == "") == (status.reason is None)


@pytest.mark.parametrize("status", StoreStatus)
def test_numbers_lie_in_the_ranges_of_the_standard(status: StoreStatus) -> None:
    # PS3.4 Table B.2-1 and PS3.7 annex C.
    ranges = ((0x0000, 0x0000), (0x0110, 0x0110), (0xA700, 0xA7FF), (0xA900, 0xA9FF), (0xC000, 0xCFFF))
    assert any(low <= status.code <= high for low, high in ranges)
    assert status.as_dataset().Status == status.code


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1", True),
        ("1.2.840.10008.5.1.4.39.1", True),
        ("1.2.840.10008.5.1.4.1.1.129", True),
        ("1.3.6.1.4.1.9999.1", True),
        ("1.2.840.10008.5.1.4.1.1.99999", True),
        ("1.2.840.10008.1.20.1", False),
        ("1.2.840.10008.1.3.10", False),
        ("1.2.840.10008.5.1.4.1.2.2.1", False),
        ("1.2.840.10008.5.1.4.31", False),
        ("1.2.840.10008.3.1.2.3.3", False),
        ("1.2.840.10008.5.1.1.9", False),
        (VERIFICATION, False),
        ("MARKED^NAME", False),
        ("", False),
    ],
)
def test_storage_classes_are_told_from_other_services(uid: str, taken: bool) -> None:
    assert is_storage(uid) is taken


def test_transfer_syntaxes_are_ordered_by_how_well_they_are_decoded() -> None:
    assert by_preference(["1.2.3", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1"]) == [
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.4.50",
        "1.2.3",
        "1.2.840.10008.1.2.4.112",
    ]


def test_each_context_is_answered_by_itself() -> None:
    cr, find, explicit = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.2.1"
    implicit, jpeg = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"
    proposed = [
        ProposedContext(1, cr, (implicit,)),
        ProposedContext(3, cr, (jpeg, explicit)),
        ProposedContext(4, VERIFICATION, (implicit,)),
        ProposedContext(5, find, (explicit,)),
        ProposedContext(7, cr, ()),
        ProposedContext(9, "", ()),
    ]
    told = [(context.context_id, context.result, context.transfer_syntax) for context in answer_to(proposed)]
    assert told == [
        (1, 0, [implicit]),
        (3, 0, [explicit]),
        (4, 0, [implicit]),
        (5, 3, [explicit]),
        (7, 4, [implicit]),
        (9, 3, [implicit]),
    ]


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_file_meta_information_is_what_pydicom_reads(host: str) -> None:
    made = Made()
    uids = ObjectUids(made.sop_class_uid, made.sop_uid, made.transfer_syntax_uid)
    encoded = encode_file_meta(uids, Sender("PACS", "AUSCULT", host), "AUSCULT")
    ds = dcmread(io.BytesIO(encoded + made.dataset()))
    meta = ds.file_meta
    assert meta.FileMetaInformationGroupLength == len(encoded) - 144
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (made.sop_class_uid, made.sop_uid)
    assert (meta.ImplementationClassUID, meta.ImplementationVersionName) == (
        IMPLEMENTATION_CLASS_UID,
        IMPLEMENTATION_VERSION_NAME,
    )
    assert host in meta.SendingPresentationAddress
    assert ds.SOPInstanceUID == made.sop_uid
    assert len(IMPLEMENTATION_CLASS_UID) <= 64
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


def test_batches_keep_the_order_and_fit_into_an_association(tmp_path: Path) -> None:
    classes = [f"1.2.826.0.1.3680043.10.1234.98.{number % 200}" for number in range(300)]
    files = [Made(sop_class_uid=uid).write(tmp_path / f"{number}.dcm") for number, uid in enumerate(classes)]
    items = list(enumerate(outgoing_of(path, tmp_path) for path in files))
    parts = list(batches(items))
    assert [numbered for part in parts for numbered in part] == items
    assert all(len({item.context for _, item in part}) <= 128 for part in parts)
    assert len(parts) == 3
