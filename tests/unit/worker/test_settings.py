"""Settings: where they come from, which come first, and that a wrong one ends with one line that names it."""

from __future__ import annotations

import pathlib
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from sqlalchemy.engine import make_url

from dicom_io.listener.options import ListenerOptions, ListenerOptionsInvalid
from tests.support.permissions import permissions_hold
from worker.addresses import broker_place, database_url, describe
from worker.cli.demo import DEMO_MARK, demo_settings, query_example
from worker.errors import SettingsError, WorkerError
from worker.options.secret_files import SECRETS
from worker.settings import LISTENER_OPTIONS, child_environment, load_settings

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


def test_every_setting_of_the_listener_reaches_its_options() -> None:
    changed: dict[str, Any] = {name: 2 * load_settings().model_dump()[name] or True for name in LISTENER_OPTIONS}
    changed |= {"host": "::1", "ae_title": "OTHER", "allowed_aets": ("A",), "allowed_hosts": ("10.0.0.0/8",)}
    options = load_settings(**changed).listener
    changed["allowed_hosts"] = (ip_network("10.0.0.0/8"),)
    assert {name: getattr(options, name) for name in changed} == changed


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 65536), ("max_per_peer", 1001), ("max_pdu", 4095), ("max_object_mb", 0), ("network_timeout_s", 0)],
)
def test_a_setting_of_the_listener_has_the_range_of_its_option(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=f"setting {name}"):
        load_settings(**{name: value})
    with pytest.raises(ListenerOptionsInvalid, match=f"^{name} must be"):
        ListenerOptions(**{name: value})  # type: ignore[arg-type]


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
        ("AUSCULT_PROT", "11112", "unknown setting AUSCULT_PROT (do you mean AUSCULT_PORT?)"),
        ("AUSCULT_XYZZY", "11112", "unknown setting AUSCULT_XYZZY: see"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = ", "auscult.toml is not TOML at"),
        ("port = 104\nae_title = geheim\n", "auscult.toml is not TOML at line 2, column 12: texts need quotes"),
        ("prot = 1\n", "unknown setting prot (do you mean AUSCULT_PORT?) in auscult.toml: see the documentation"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(text: str, says: str, home: Path) -> None:
    (home / "auscult.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert says in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_the_data_folder_of_another_user_is_said_to_be_one(home: Path) -> None:
    home.chmod(0o000)
    try:
        with permissions_hold(), pytest.raises(SettingsError) as caught:
            load_settings()
    finally:
        home.chmod(0o700)
    assert str(caught.value).startswith(
        f"this account may not read the settings of the data folder, {home}/auscult.toml"
    )
    assert "run the command as the user that Auscult runs under" in str(caught.value)


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


@pytest.mark.parametrize(
    "text", ["PACS1, PACS2", '"PACS1,PACS2"', '"PACS1","PACS2"', "'PACS1', PACS2 \r", '["PACS1", "PACS2"]']
)
def test_a_list_is_read_whatever_a_file_of_variables_left_around_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_ALLOWED_AETS", text)
    monkeypatch.setenv("AUSCULT_ALLOWED_HOSTS", text.replace("PACS", "10.0.0."))
    monkeypatch.setenv("AUSCULT_GATE_POLICY", text.replace("PACS1", "TEST_PATTERN=flag").replace("PACS2", ""))
    settings = load_settings()
    assert settings.allowed_aets == ("PACS1", "PACS2")
    assert settings.allowed_hosts == ("10.0.0.1", "10.0.0.2")
    assert settings.gate_policy == "TEST_PATTERN=flag"


@pytest.mark.parametrize("around", ["{}\r", " {} ", '"{}"', "'{}'\r\n"])
def test_every_value_is_taken_without_what_stands_around_it(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"PORT": "104", "ENGINE": "keras", "ANY_CALLER": "true", "AE_TITLE": "PACS", "STORE_DIR": "/srv/store"}
    values |= {"BROKER_URL": "redis://broker:6379/1", "QUIET_S": "7"}
    for name, value in values.items():
        monkeypatch.setenv(f"AUSCULT_{name}", around.format(value))
    settings = load_settings()
    taken = {name: str(getattr(settings, name.lower())) for name in values}
    assert taken == values | {"ANY_CALLER": "True", "QUIET_S": "7.0"}


@pytest.mark.parametrize("value", ["\r", ' "" ', "  "])
def test_a_value_of_nothing_but_quotes_and_spaces_is_one_that_is_not_set(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUSCULT_PORT", value)
    assert load_settings().port == 11112


def test_the_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does(home: Path) -> None:
    (home / "auscult.toml").write_bytes(b'\xef\xbb\xbfport = 104\r\nallowed_aets = [" A", "B "]\r\n')
    settings = load_settings()
    assert (settings.port, settings.allowed_aets) == (104, ("A", "B"))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_with_what_to_do(encoding: str, home: Path) -> None:
    (home / "auscult.toml").write_text('ae_title = "RÖ"\n', encoding=encoding)
    with pytest.raises(SettingsError, match="save it as UTF-8"):
        load_settings()


@pytest.mark.parametrize("name", ["p%41x", "q?x", "r#x", "with space", "Röntgen", "a;b@c:d&e=f+g"])
def test_the_database_lies_in_the_data_folder_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path / name))
    settings = load_settings()
    assert make_url(settings.database).database == str(tmp_path / name / "auscult.db")
    example = query_example(settings)
    assert unquote(example.partition("file://")[2].partition("?mode=ro")[0]) == str(tmp_path / name / "auscult.db")


def test_an_account_without_a_home_directory_is_told_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_self: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(pathlib.Path, "expanduser", nobody)
    for name in ("AUSCULT_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="set AUSCULT_HOME"):
        load_settings()


def test_a_path_in_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUSCULT_STORE_DIR", "~nobody-of-that-name/store")
    with pytest.raises(SettingsError, match="home directory"):
        load_settings()


@pytest.mark.parametrize(
    "name", ["auscult_prot", "AUSCULT_SERVICE_HOTS", "AUSCULT_PORT_11112", "AUSCULT_LISTENER_PROT"]
)
def test_a_misspelt_name_is_an_error_beside_service_links_and_in_lower_case(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUSCULT_SERVICE_HOST", "10.96.3.4")
    monkeypatch.setenv(name, "11112")
    with pytest.raises(SettingsError, match="unknown setting AUSCULT_"):
        load_settings()


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_stand_in_a_file_and_a_child_reads_it_there(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = "redis://:hunter2@h:6379/0" if name == "broker_url" else "postgresql+psycopg://u:hunter2@h/db"
    secret = tmp_path / "secret"
    secret.write_text(url + "\r\n", encoding="utf-8")
    variable = f"AUSCULT_{name.upper()}_FILE"
    monkeypatch.setenv(variable, str(secret))
    settings = load_settings()
    assert getattr(settings, name) == url
    child = child_environment(settings)
    assert not [value for value in child.values() if "hunter2" in value]
    assert (variable in child) == (name != "owner_database_url")


@pytest.mark.parametrize("what", ["missing", "empty", "folder", "not text", "set twice"])
def test_a_file_of_a_secret_that_gives_none_is_named_without_its_contents(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes({"empty": b" \n", "not text": b"hunter2\xff"}.get(what, b"postgresql://u:hunter2@h/db"))
    monkeypatch.setenv("AUSCULT_DATABASE_URL_FILE", str(path))
    if what == "set twice":
        monkeypatch.setenv("AUSCULT_DATABASE_URL", "postgresql://u:hunter2@h/db")
    with pytest.raises(SettingsError, match="AUSCULT_DATABASE_URL_FILE") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunt#er2@127.0.0.1:6379/0",
        "redis://:hunt/er2@127.0.0.1:6379/0",
        "redis://:hunt?er2@127.0.0.1:6379/0",
        "redis://u:12/hunter2@127.0.0.1/0",
        "redis://127.0.0.1/hunter2",
        "redis://127.0.0.1/0?hunter2=1",
        "redis://127.0.0.1/0#hunter2",
        "redis://:hunter2@127.0.0.1:70000/0",
        "rediss://127.0.0.1/0?ssl_cert_reqs=hunter2",
        "redis://:hunter2@a:6379/0;redis://:hunter2@b:6379/0",
        "unix://:hunt/er2@/run/redis.sock",
        "unix://hunter2",
        "unix:///" + "hunter2" * 20,
        "sentinel://:hunter2@127.0.0.1:26379",
        "sentinel://a:26379;sentinel://b:26379",
        "amqp://u:hunter2@127.0.0.1",
        "hunter2",
    ],
)
def test_a_broker_url_that_cannot_work_is_refused_at_once_and_not_quoted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUSCULT_BROKER_URL", url)
    with pytest.raises(SettingsError, match="broker_url") as caught:
        load_settings()
    assert not [word for word in ("hunt", "er2") if word in str(caught.value)]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@hunt/er2#x@127.0.0.1:5432/db",
        "postgresql://hunt/er2@127.0.0.1/db",
        "postgresql://127.0.0.1:5432/db?password=hunt@er2",
        "postgresql://u:p@127.0.0.1:70000/hunter2",
        "postgresql://u:p@127.0.0.1:hunter2/db",
        "postgresql://u:p@127.0.0.1/db?hunter2=1",
        "mysql://u:hunter2@127.0.0.1/db",
        "hunter2",
    ],
)
def test_a_database_url_that_cannot_work_is_refused_at_once_and_not_quoted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUSCULT_DATABASE_URL", url)
    with pytest.raises(WorkerError, match="AUSCULT_DATABASE_URL") as caught:
        load_settings()
    assert not [word for word in ("hunt", "er2") if word in str(caught.value)]


def test_a_database_is_described_without_user_password_and_options() -> None:
    for url in (
        "postgresql://user:hunter2@db:5433/auscult?password=hunter2&sslmode=require",
        "postgresql://user:hunt%23er%402@db:5433/auscult",
        "postgresql://user:hunt#er/2@db:5433/auscult",
    ):
        assert describe(database_url(url)) == "the PostgreSQL database auscult at db:5433"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("unix:///run/redis/redis.sock", "redis+socket:///run/redis/redis.sock?virtual_host=0"),
        ("unix://:p%23w@/run/r@1.sock?db=2", "redis+socket://:p%23w@/run/r%401.sock?virtual_host=2"),
        ("redis://:p@s;s w@h", "redis://:p%40s%3Bs%20w@h:6379/0"),
        ("redis://h:1/?password=p%40w&username=u&db=3", "redis://u:p%40w@h:1/3"),
        ("REDIS://[::1]:7/1", "redis://[::1]:7/1"),
        ("valkey://h", "redis://h:6379/0"),
        ("rediss://u:p@h:1/0", "rediss://u:p@h:1/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_ca_certs=/a b.pem", "rediss://h:6379/0?ssl_cert_reqs=required&ssl_ca_certs=%2Fa%20b.pem"),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h:6379/0?ssl_cert_reqs=none"),
    ],
)
def test_a_broker_url_is_brought_to_the_form_that_works(given: str, taken: str) -> None:
    assert load_settings(broker_url=given).broker == taken
    assert load_settings(broker_url=taken).broker == taken
    place = broker_place(taken)
    assert not [secret for secret in ("p%23w", "p%40", "u:", "ssl", "?") if secret in place]


def test_a_demo_home_stays_the_demos_home(tmp_path):
    settings = demo_settings(load_settings(home=tmp_path / "auscult"))
    assert settings.home == tmp_path / "auscult-demo"
    settings.home.mkdir()
    (settings.home / DEMO_MARK).touch()
    assert demo_settings(load_settings(home=settings.home)).home == settings.home
