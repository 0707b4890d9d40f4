"""The settings that the audit trail shows: what differs from the default, and no secret."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

from worker.auditing.processes import changes, shown_settings
from worker.auditing.secrets import KEY_FILE, secret_digests
from worker.settings import load_settings

URL = "postgresql://auscult:hunter2@db.example/auscult?sslmode=require"


def test_no_secret_is_shown(tmp_path):
    settings = load_settings(
        home=tmp_path,
        database_url=URL,
        owner_database_url=URL.replace("auscult:", "owner:"),
        broker_url="rediss://:hunter2@redis.example:6379/0",
        quiet_s=10,
        allowed_aets=("PACS", "MODALITY"),
    )
    shown = shown_settings(settings)
    assert "hunter2" not in str(shown)
    assert "owner" not in str(shown)
    assert shown["database_url"] == "the PostgreSQL database auscult at db.example"
    assert shown["broker_url"].endswith("://redis.example:6379/0")
    assert (shown["quiet_s"], shown["allowed_aets"]) == (10.0, "PACS,MODALITY")
    assert "lease_s" not in shown


def test_a_long_value_is_told_by_its_digest(tmp_path):
    aets = tuple(f"AET{number}" for number in range(100))
    one, other = (shown_settings(load_settings(home=tmp_path, allowed_aets=some)) for some in (aets, aets[:-1]))
    assert one["allowed_aets"].startswith("sha256:")
    assert one["allowed_aets"] != other["allowed_aets"]


def test_what_changed_is_told_with_old_and_new_value():
    assert changes({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": [2, None], "c": [None, 3]}
    assert changes({"a": 1}, {"a": 1}) == {}


def digests_of(home, **settings):
    return secret_digests(load_settings(home=home, **settings))


def test_a_changed_password_or_certificate_is_told_by_its_setting_and_never_shown(tmp_path):
    files = {name: tmp_path / f"{name}.pem" for name in ("tls_cert", "tls_key", "tls_ca")}
    for path in files.values():
        path.write_text("first")
    before = digests_of(tmp_path, database_url=URL, **files)
    assert changes(before, digests_of(tmp_path, database_url=URL, **files)) == {}
    files["tls_key"].write_text("second")
    after = digests_of(tmp_path, database_url=URL.replace("hunter2", "hunter3"), **files)
    assert set(changes(before, after)) == {"secret:database_url", "secret:tls_key"}
    for text in ("hunter", "first", "second", URL):
        assert text not in str(before) + str(after)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert (tmp_path / KEY_FILE).read_bytes().hex() not in str(before)


def test_a_password_that_libpq_reads_is_told_of_too(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    settings = load_settings(home=tmp_path, database_url="postgresql://auscult@db/auscult")
    none = secret_digests(settings)
    assert "secret:PGPASSFILE" not in none
    (tmp_path / "pgpass").write_text("db:*:*:*:old\n")
    monkeypatch.setenv("PGPASSWORD", "first")
    before = secret_digests(settings)
    (tmp_path / "pgpass").write_text("db:*:*:*:new\n")
    monkeypatch.setenv("PGPASSWORD", "second")
    after = secret_digests(settings)
    assert list(changes(before, after)) == ["secret:PGPASSFILE", "secret:PGPASSWORD"]
    assert not {"first", "second", "old", "new"} & {*before.values(), *after.values()}
    assert "secret:PGPASSWORD" not in secret_digests(load_settings(home=tmp_path)), "SQLite asks libpq for nothing"


def test_digests_by_another_key_are_not_compared(tmp_path):
    shown = [digests_of(tmp_path / name, database_url=URL) for name in ("a", "b") if not (tmp_path / name).mkdir()]
    assert shown[0]["secret:database_url"] != shown[1]["secret:database_url"]
    assert set(changes(*shown)) == {"secret:key"}
    assert set(changes({"quiet_s": 10}, {"quiet_s": 10, **shown[0]})) == {"secret:key"}


def test_two_settings_with_one_password_do_not_show_it(tmp_path):
    found = digests_of(tmp_path, database_url=URL, broker_url="rediss://:hunter2@redis.example:6379/0")
    assert len(set(found.values())) == len(found) == 3


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: digests_of(tmp_path, database_url=URL), range(16)))
    assert all(one == found[0] for one in found)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_data_folder_that_takes_no_file_keeps_no_process_from_starting(tmp_path):
    assert digests_of(tmp_path / "absent", database_url=URL) == {}
    assert digests_of(tmp_path) == {}
