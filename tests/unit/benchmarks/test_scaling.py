"""What the tables and the picture of scaling, and those of churn, say of a run."""

from __future__ import annotations

from typing import Any

from PIL import Image

from benchmarks.churn import tables as churn
from benchmarks.scaling import tables as scaling
from benchmarks.scaling.picture import draw

RUN: dict[str, Any] = {
    "date": "2026-01-02",
    "commit": "abc",
    "machine": "2 CPUs",
    "rounds": 3,
    "workers": [1, 2],
    "associations": [1, 4],
    "kinds": [{"key": "raw", "title": "uncompressed", "films": 8}],
    "lines": [
        {
            "kind": "raw",
            "workers": workers,
            "associations": associations,
            "films_a_second": 10.0 * workers + associations,
            "spread": [9.0, 30.0],
            "cpu_ms_a_film": 31.4,
        }
        for workers in (1, 2)
        for associations in (1, 4)
    ],
}


def test_films_a_second_stand_by_workers_and_associations():
    said = scaling.tables(RUN)
    assert "| uncompressed | 1 association | 4 associations |" in said
    assert "| 1 worker | 11.0 (31) | 14.0 (31) |" in said
    assert "| 2 workers | 21.0 (31) | 24.0 (31) |" in said


def test_the_picture_is_drawn(tmp_path):
    draw(tmp_path / "scaling.png", RUN)
    with Image.open(tmp_path / "scaling.png") as picture:
        assert picture.width > 300


def test_a_line_goes_from_few_associations_to_many_in_whichever_order_they_were_measured(tmp_path):
    three = RUN | {"associations": [1, 4, 8]}
    three["lines"] = [*RUN["lines"], *(line | {"associations": 8} for line in RUN["lines"][1::2])]
    draw(tmp_path / "one.png", three)
    draw(tmp_path / "other.png", three | {"lines": three["lines"][::-1][:2] + three["lines"][:4]})
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_churn_says_how_many_updates_stayed_in_their_page_and_what_indexes_weigh():
    table = {
        "name": "task",
        "inserted": 1000,
        "updated": 2000,
        "in_page": 500,
        "dead": 7,
        "vacuums": 2,
        "bytes": 1_500_000,
    }
    said = churn.tables(
        {
            "date": "2026-01-02",
            "commit": "abc",
            "database": "PostgreSQL 16",
            "tasks": 1000,
            "log_bytes_a_task": 9190,
            "tables": [table],
            "indexes": [
                {"name": "pk_task", "bytes": 200_000, "bytes_anew": 150_000},
                {"name": "small", "bytes": 8192, "bytes_anew": 8192},
            ],
        }
    )
    assert "| task | 1,000 | 2,000 | 25% | 7 | 2 | 1.5 |" in said
    assert "| pk_task | 0.20 | 0.15 |" in said
    assert "small" not in said
