"""The file meta information of received objects."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from pydicom.filereader import dcmread

from dicom_io.header.file_meta import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    ObjectUids,
    Sender,
    encode_file_meta,
)
from dicom_io.header.reader import facts_of, read_facts
from tests.support.objects import Made

if TYPE_CHECKING:
    from pathlib import Path


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


def test_the_certificate_of_the_sender_comes_back_from_our_own_private_information_alone(tmp_path: Path) -> None:
    made, digest = Made(), "0123456789abcdef" * 4
    uids = ObjectUids(made.sop_class_uid, made.sop_uid, made.transfer_syntax_uid)
    encoded = encode_file_meta(uids, Sender("PACS", "AUSCULT", "192.0.2.7", digest), "AUSCULT") + made.dataset()
    path = tmp_path / "film.dcm"
    path.write_bytes(encoded)
    facts = read_facts(path)
    assert (facts.certificate, facts.calling_aet, facts.sop_uid) == (digest, "PACS", made.sop_uid)
    ds = dcmread(path)
    assert ds.file_meta.PrivateInformationCreatorUID == IMPLEMENTATION_CLASS_UID
    assert facts_of(ds).certificate == digest
    creator = IMPLEMENTATION_CLASS_UID.encode()
    for theirs in (creator[:-1] + b"3", b"1.2.3".ljust(len(creator), b"\0")):
        path.write_bytes(encoded.replace(creator, theirs))
        assert read_facts(path).certificate == ""
    path.write_bytes(encoded.replace(digest.encode(), b"Z" * 64))
    assert read_facts(path).certificate == ""
