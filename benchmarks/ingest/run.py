"""Draft."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ingest.receivers import receivers
from benchmarks.ingest.senders import push, templates

COUNTS = {"10 MB": 24, "3.6 MB": 40, ".26 MB": 160}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    only = sys.argv[2] if len(sys.argv) > 2 else ""

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="auscult-ingest-") as folder:
        root = Path(folder)
        made = [t for t in templates(root) if only in t.name]
        number = 0
        with receivers(root) as running:
            for template in made:
                for associations in (1, 8):
                    got = {r.name: [] for r in running}
                    for turn in range(rounds + 1):
                        for r in running:
                            n = COUNTS[template.name] if turn else 8
                            objs = template.copies(n, number)
                            number += n
                            before, began = r.cpu_s(), time.perf_counter()
                            push(r.port, template, objs, associations)
                            wall = time.perf_counter() - began
                            cpu = r.cpu_s() - before
                            assert len(r.objects()) == n, (len(r.objects()), n)
                            r.clear()
                            if turn:
                                got[r.name].append((n / wall, cpu / n * 1000))
                    print(
                        template.name,
                        associations,
                        {
                            k: (
                                round(statistics.median(a for a, _ in v), 1),
                                round(statistics.median(b for _, b in v), 2),
                            )
                            for k, v in got.items()
                        },
                        flush=True,
                    )


main()
