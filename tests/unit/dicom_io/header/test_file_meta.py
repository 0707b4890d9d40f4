"""The file meta information of received objects."""

from __future__ import annotations

import io

import pytest
from pydicom.filereader import dcmread

from dicom_io.header.file_meta import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    ObjectUids,
    Sender,
    encode_file_meta,
)
from tests.support.objects import Made


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
