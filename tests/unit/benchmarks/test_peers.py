"""The comparison with others: what is sent, how results are judged, and that README.md has the committed result."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from pynetdicom.dsutils import decode

from benchmarks.peers import films as films_module
from benchmarks.peers import readme
from benchmarks.peers.films import KINDS, Films, shares
from benchmarks.peers.sender import framed
from benchmarks.peers.tables import compared, tables
from benchmarks.peers.verdict import verdicts
from dicom_io.film.film import film_of_dicom

SMALL = next(kind for kind in KINDS if kind.key == "small")


@pytest.fixture
def small(tmp_path, monkeypatch) -> Films:
    monkeypatch.setattr(films_module, "CACHE", tmp_path)
    return Films(replace(SMALL, burst=3), 3)


def report(ours: list[float], obvious: list[float], tuned: list[float], receiver: list[float]) -> dict[str, Any]:
    """A report of one kind; lists hold studies a second by round."""
    rates = {"auscult": ours, "obvious": obvious, "tuned-1": [1.0] * len(tuned), "tuned-2": tuned, "storescp": receiver}
    return {
        "date": "2026-11-29",
        "commit": "abc",
        "machine": "a machine",
        "cores": 2,
        "versions": {"Orthanc": "1.10.1", "orthanc-python": "4.0"},
        "model": "auscult-2",
        "rounds": len(ours),
        "network_ms": [4.0] * len(ours),
        "kinds": [{"key": "raw", "title": "uncompressed", "megabytes": 10.24, "burst": 40, "obvious_burst": 20}],
        "systems": [{"key": key, "title": key, "guarantees": "some"} for key in rates],
        "alone": {"auscult": {"latency_ms": {"raw": {"first": [9.0], "last": [7.0]}}, "pss_mb": 350.0, "processes": 8}},
        "score_differences": {"tuned-2": {"raw": 0.002}},
        "lines": [
            {
                "system": key,
                "kind": "raw",
                "senders": senders,
                "films": 40,
                "wall_s": [40 / each for each in values],
                "answered_s": [40 / each for each in values],
                "cpu_s": [1.0] * len(values),
            }
            for key, values in rates.items()
            for senders in (1, 4)
        ],
    }


def test_ratios_are_medians_of_those_of_the_same_round() -> None:
    # The machine is half as fast in the second round, and the ratio is the same.
    (found,) = verdicts(report([20, 10, 20], [2, 1, 2], [10, 5, 10], [90, 90, 90]), 4)
    assert found.against_obvious == pytest.approx(10)
    assert found.against_tuned == pytest.approx(2)
    assert found.tuned_key == "tuned-2"
    assert found.is_met


@pytest.mark.parametrize(
    ("receiver", "met", "bounded_by"),
    [(20.0, True, "receiving"), (30.0, False, "receiving"), (900.0, False, "network")],
)
def test_who_is_near_what_receiving_or_the_network_allow_has_met_the_target(
    receiver: float, met: bool, bounded_by: str
) -> None:
    (found,) = verdicts(report([19.0], [10.0], [30.0], [receiver]), 1)
    assert (found.is_met, found.bounded_by) == (met, bounded_by)


def test_the_tables_name_every_system_and_what_it_guarantees() -> None:
    now = report([20, 10, 20], [2, 1, 2], [10, 5, 10], [90, 90, 90])
    text = tables(now)
    assert "uncompressed, 10.2 MB" in text
    assert all(f"| {system['title']} | some |" in text for system in now["systems"])
    assert "10x / 2x: met" in text
    assert "Every target is met." in text
    assert "-> 20.0 studies/s" in compared(now, report([10, 10, 10], [2, 1, 2], [10, 5, 10], [90, 90, 90]))


def test_what_falls_short_is_said_with_its_ratio() -> None:
    text = tables(report([20, 10, 20], [4, 2, 4], [40, 20, 40], [90, 90, 90]))
    assert (
        "- uncompressed, 4 senders: 5.0 of 10 times the obvious way, 0.50 of 2 times the tuned one, 0.22 of the" in text
    )


def test_readme_has_the_table_of_the_committed_result_and_no_other() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.written(text), "run `python3 dev.py bench peers --readme`"
    if readme.RESULT.exists():
        assert json.loads(readme.RESULT.read_text(encoding="utf-8"))["rounds"] >= 7


def test_no_two_films_become_the_same_picture(small: Films, tmp_path) -> None:
    seen = set()
    for _ in range(3):
        for film in small.burst(3):
            path = tmp_path / "film.dcm"
            path.write_bytes(film.data)
            seen.add(film_of_dicom(path).sha256)
    assert len(seen) == 9


def test_a_film_is_sent_as_pdus_of_the_length_that_the_peer_takes(small: Films) -> None:
    film = small.burst(1)[0]
    parts: dict[int, bytes] = {0: b"", 1: b""}
    lasts, pdus = [], memoryview(framed(film, 16384).pdus)
    while pdus:
        kind, length, item, context, control = struct.unpack(">BxIIBB", pdus[:12])
        assert (kind, item, context) == (4, length - 4, 1)
        assert length <= 16384
        parts[control & 1] += bytes(pdus[12 : 6 + length])
        lasts += [control] if control & 2 else []
        pdus = pdus[6 + length :]
    assert lasts == [3, 2]
    assert parts[0] == film.data
    command = decode(io.BytesIO(parts[1]), is_implicit_vr=True, is_little_endian=True)
    assert (command.CommandField, command.AffectedSOPInstanceUID) == (1, film.sop_uid)
    assert command.CommandGroupLength == len(parts[1]) - 12


def test_a_burst_is_dealt_out_whole() -> None:
    assert [list(part) for part in shares([*"abcde"], 2)] == [["a", "c", "e"], ["b", "d"]]
