"""Addresses of peers: how they are written, and what is said of one that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicom_io.peer import Peer, PeerInvalid, parse_peer
from worker.errors import SettingsError, UsageError
from worker.peers import find_peer, named_peers, peer_with_title
from worker.settings import child_environment, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path))
    return tmp_path


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


def test_peers_come_from_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_PEERS", "PACS=ORTHANC@10.0.0.5:4242, OLD=dicom-tls://ARCHIVE@archive.local:2762")
    settings = load_settings()
    assert find_peer(settings, "PACS") == Peer("ORTHANC", "10.0.0.5", 4242)
    assert find_peer(settings, "OTHER@host:11112") == Peer("OTHER", "host", 11112)
    assert peer_with_title(settings, "ARCHIVE") == Peer("ARCHIVE", "archive.local", 2762, is_tls=True)
    assert peer_with_title(settings, "PACS") is None


@pytest.mark.parametrize("text", ['peers = "PACS=ORTHANC@h:1"\n', '[peers]\nPACS = "ORTHANC@h:1"\n'])
def test_peers_come_from_the_file_as_text_or_table(text: str, home: Path) -> None:
    (home / "auscult.toml").write_text(text, encoding="utf-8")
    assert named_peers(load_settings().peers) == {"PACS": Peer("ORTHANC", "h", 1)}


def test_a_child_gets_the_peers_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(peers=("PACS=ORTHANC@h:1", "OLD=A@h:2"))
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings().peers == settings.peers


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("ORTHANC@h:1", "NAME=AET@HOST:PORT"),
        ("PACS=ORTHANC@h", "peer PACS"),
        ("PACS=A@h:1,PACS=B@h:2", "two peers are named PACS"),
        ("my pacs=A@h:1", "a name has letters"),
    ],
)
def test_a_wrong_peer_of_the_settings_is_named(value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_PEERS", value)
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings()
    assert "setting peers" in str(caught.value)


def test_an_unknown_peer_is_answered_with_the_names_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_PEERS", "PACS=ORTHANC@h:1,OLD=A@h:2")
    with pytest.raises(UsageError, match="OLD, PACS"):
        find_peer(load_settings(), "PASC")
