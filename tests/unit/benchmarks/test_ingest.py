"""What the tables of receiving say about a run."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.ingest.picture import draw
from benchmarks.ingest.tables import ratio, tables


def report(rates: dict[str, list[float]], cpu_ms: dict[str, list[float]]) -> dict[str, Any]:
    """A report of objects of one size over 1 and 8 associations."""
    return {
        "date": "2026-11-29",
        "commit": "abc",
        "machine": "a machine",
        "load": 0.1,
        "rounds": 3,
        "versions": {"dcmtk": "3.6.7", "pynetdicom": "3.0.4"},
        "objects": [{"name": "10 MB", "bytes": 10_240_000, "a_turn": 32}],
        "lines": [
            {
                "receiver": receiver,
                "object": "10 MB",
                "associations": many,
                "objects_per_s": rates[receiver],
                "cpu_ms": cpu_ms[receiver],
            }
            for many in (1, 8)
            for receiver in rates
        ],
    }


RATES = {"storescp": [50.0, 60.0, 55.0], "auscult": [60.0, 54.0, 66.0], "auscult-unhashed": [70.0, 70.0, 70.0]}
CPU_MS = {"storescp": [8.0, 8.0, 8.0], "auscult": [20.0, 21.0, 19.0], "auscult-unhashed": [9.0, 10.0, 9.2]}


def test_targets_are_met_by_the_median_of_the_ratios_of_a_round():
    said = tables(report(RATES, CPU_MS))
    assert "| 10 MB | 8 | 55 (50-60) | 60 (54-66) | 70 (70-70) | 1.20 | met |" in said
    assert "| 10 MB | 8 | 8.0 (8.0-8.0) | 20.0 (19.0-21.0) | 9.2 (9.0-10.0) | 2.50 | 1.15 | met |" in said
    assert "Medians of 3 rounds in turns" in said


def test_a_missed_target_says_so():
    said = tables(report({**RATES, "auscult": [40.0, 40.0, 40.0]}, {**CPU_MS, "auscult-unhashed": [10.0] * 3}))
    assert said.count("| 0.73 | missed |") == said.count("| 1.25 | missed |") == 2


def test_the_third_receiver_is_told_where_it_was_measured():
    found = report({**RATES, "pynetdicom": [20.0] * 3}, {**CPU_MS, "pynetdicom": [30.0] * 3})
    found["lines"] = [line for line in found["lines"] if (line["receiver"], line["associations"]) != ("pynetdicom", 1)]
    assert "| 10 MB | 8 | 20.0 | 30 |" in tables(found)
    assert "| 10 MB | 1 | 20.0 | 30 |" not in tables(found)


def test_a_ratio_leaves_out_what_could_not_be_measured():
    assert ratio([1.0, 2.0, 3.0], [0.0, 1.0, 1.0]) == pytest.approx(2.5)
    assert ratio([1.0], [0.0]) == 0


def test_the_picture_is_drawn(tmp_path):
    draw(tmp_path / "ingest.png", report(RATES, CPU_MS))
    assert (tmp_path / "ingest.png").read_bytes().startswith(b"\x89PNG")
