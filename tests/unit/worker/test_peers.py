from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicom_io.client.peer import Peer
from worker.addresses import named_peers
from worker.errors import SettingsError, UsageError
from worker.peers import find_peer, peer_with_title
from worker.settings import child_environment, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path))
    return tmp_path


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
