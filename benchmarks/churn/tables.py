"""The figures of churn as tables in Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.tables import markdown

#: Indexes that are smaller are left out.
SHOWN_BYTES = 100_000


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    rows = []
    for row in sorted(report["tables"], key=lambda row: row["name"]):
        share = row["in_page"] / row["updated"] if row["updated"] else 0
        counts = (f"{row[name]:,}" for name in ("inserted", "updated"))
        rows.append(
            [row["name"], *counts, f"{share:.0%}", f"{row['dead']:,}", str(row["vacuums"]), f"{row['bytes'] / 1e6:.1f}"]
        )
    head = ["table", "inserted", "updated", "within their page", "dead rows at the end", "vacuumed", "MB"]
    indexes = [
        [index["name"], f"{index['bytes'] / 1e6:.2f}", f"{index['bytes_anew'] / 1e6:.2f}"]
        for index in report["indexes"]
        if index["bytes"] >= SHOWN_BYTES
    ]
    return (
        f"{report['date']}, commit {report['commit']}, {report['database']}, {report['tasks']:,} films, "
        f"{report['log_bytes_a_task']:,} bytes of write-ahead log a film\n\n"
        f"{markdown(head, rows)}\n\n{markdown(['index', 'MB', 'MB, rebuilt'], indexes)}"
    )
