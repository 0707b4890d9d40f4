"""Addresses of peers: how they are written, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from dicom_io.client.peer import Peer, PeerInvalid, parse_peer


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ORTHANC@10.0.0.5:4242", Peer("ORTHANC", "10.0.0.5", 4242)),
        ("dicom://ORTHANC@pacs.local:104", Peer("ORTHANC", "pacs.local", 104)),
        ("dicom-tls://ARCHIVE@archive.local:2762", Peer("ARCHIVE", "archive.local", 2762, is_tls=True)),
        ("DICOM-TLS://ARCHIVE@[2001:db8::7]:2762", Peer("ARCHIVE", "2001:db8::7", 2762, is_tls=True)),
        ("MY PACS@host:1", Peer("MY PACS", "host", 1)),
        ("A@B@host:1", Peer("A@B", "host", 1)),
    ],
)
def test_an_address_is_read_and_written_back(text: str, peer: Peer) -> None:
    assert parse_peer(text) == peer
    assert parse_peer(str(peer)) == peer


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "AET@HOST:PORT"),
        ("ORTHANC", "AET@HOST:PORT"),
        ("ORTHANC@host", "AET@HOST:PORT"),
        ("ORTHANC@host:port", "AET@HOST:PORT"),
        ("@host:104", "AE title"),
        ("SEVENTEEN_LETTERS@host:104", "AE title"),
        ("A\\B@host:104", "AE title"),
        ("A@host:0", "1 to 65535"),
        ("A@host:65536", "1 to 65535"),
        ("A@ho st:104", "host"),
        ("A@2001:db8::7:104", "brackets"),
        ("http://A@host:104", "dicom-tls://"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(PeerInvalid, match=says):
        parse_peer(text)
