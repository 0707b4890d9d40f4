"""The settings that the audit trail shows: what differs from the default, and no secret."""

from __future__ import annotations

from worker.auditing.processes import changes, shown_settings
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
