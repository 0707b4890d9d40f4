"""Settings: where they come from, which come first, and that a wrong one ends with one line that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.errors import SettingsError
from worker.settings import child_environment, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path))
    return tmp_path


def test_the_embedded_default_needs_no_setting_but_the_data_folder(home: Path) -> None:
    settings = load_settings()
    assert settings.database == f"sqlite:///{home / 'auscult.db'}"
    assert settings.broker == f"redis+socket://{home / 'run' / 'broker.sock'}"
    assert (settings.host, settings.port, settings.ae_title) == ("127.0.0.1", 11112, "AUSCULT")
    assert settings.tick == 2.0


def test_the_data_folder_defaults_to_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUSCULT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert load_settings().home == tmp_path / "data" / "auscult"


def test_command_line_comes_before_environment_before_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "auscult.toml").write_text('port = 1\nae_title = "FILE"\nquiet_s = 7\n', encoding="utf-8")
    monkeypatch.setenv("AUSCULT_PORT", "2")
    monkeypatch.setenv("AUSCULT_AE_TITLE", "ENV")
    settings = load_settings(port=3)
    assert (settings.port, settings.ae_title, settings.quiet_s) == (3, "ENV", 7)


def test_the_file_may_write_the_names_with_their_prefix(home: Path) -> None:
    (home / "auscult.toml").write_text("auscult_quiet_s = 7\n", encoding="utf-8")
    assert load_settings().quiet_s == 7


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("HOME", "PORT", "STORE_DIR", "TLS_CERT", "TLS_KEY", "TLS_CA"):
        monkeypatch.setenv(f"AUSCULT_{name}", "")
    settings = load_settings()
    assert (settings.home, settings.port) == (tmp_path / "data" / "auscult", 11112)
    assert (settings.store_dir, settings.tls) == (None, None)


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_ALLOWED_AETS", "PACS1, PACS2")
    monkeypatch.setenv("AUSCULT_ALLOWED_HOSTS", "10.0.0.0/8,192.168.1.7")
    settings = load_settings()
    assert settings.allowed_aets == ("PACS1", "PACS2")
    assert settings.allowed_hosts == ("10.0.0.0/8", "192.168.1.7")


def test_a_child_gets_the_settings_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(port=104, allowed_aets=("A", "B"), any_caller=True)
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AUSCULT_PORT", "eleven", "setting port"),
        ("AUSCULT_PORT", "70000", "setting port"),
        ("AUSCULT_ENGINE", "magic", "setting engine"),
        ("AUSCULT_ALLOWED_HOSTS", "not-an-address", "setting allowed_hosts"),
        ("AUSCULT_HOST", "0.0.0.0", "AUSCULT_ALLOWED_AETS"),
        ("AUSCULT_PROT", "11112", "unknown setting AUSCULT_PROT"),
        ("AUSCULT_QUIET_S", "-1", "setting quiet_s"),
        ("AUSCULT_TLS_CERT", "/etc/auscult/cert.pem", "AUSCULT_TLS_KEY"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["port = ", "prot = 1\n"])
def test_a_wrong_file_is_named_in_one_line(text: str, home: Path) -> None:
    (home / "auscult.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert "auscult.toml" in str(caught.value) or "prot" in str(caught.value)


def test_another_address_may_be_listened_on_with_an_allow_list() -> None:
    assert load_settings(host="0.0.0.0", allowed_aets=("PACS",)).host == "0.0.0.0"


def test_the_brokers_socket_is_reached_by_a_short_path_in_a_home_with_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    monkeypatch.setenv("AUSCULT_HOME", str(deep))
    deep.mkdir(parents=True)
    socket = load_settings().broker_socket
    assert len(str(socket)) <= 100
    assert socket.parent.parent.samefile(deep)


def test_a_secret_in_a_wrong_url_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_PORT", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
