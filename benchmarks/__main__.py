"""``python3 dev.py bench [film] [network] [registration] [throughput]``: print the figures, all of these by default.

Others run alone, with options of their own: ``python3 dev.py bench soak`` an hour (`benchmarks.soak.run`), ``peers``
a quarter of one (`benchmarks.peers.run`), ``churn``, ``drift``, ``ingest``, ``memory``, ``migrations``, ``rerun``, ``scaling``,
``sql``, ``stages`` and ``start`` minutes.

Timings on a shared machine are noisy, so two ways are timed in turns within one run and only their ratio is worth
quoting; the medians beside it say what machine it was.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from benchmarks import film, network, registration, serving

if TYPE_CHECKING:
    from collections.abc import Callable

SECTIONS: dict[str, Callable[[], None]] = {
    "film": film.compare,
    "network": network.compare,
    "registration": registration.compare,
    "throughput": serving.throughput,
}
#: Programs with options of their own; their servers come from the tests' packages, so they are imported when asked for.
PROGRAMS = {
    "churn": "benchmarks.churn.run",
    "drift": "benchmarks.drift",
    "ingest": "benchmarks.ingest.run",
    "memory": "benchmarks.memory.run",
    "migrations": "benchmarks.migrations",
    "peers": "benchmarks.peers.run",
    "rerun": "benchmarks.rerun.run",
    "scaling": "benchmarks.scaling.run",
    "soak": "benchmarks.soak.run",
    "sql": "benchmarks.sql.run",
    "stages": "benchmarks.stages.run",
    "start": "benchmarks.start.run",
}


def main() -> None:
    """Run the sections named on the command line."""
    if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        sys.exit(importlib.import_module(PROGRAMS[sys.argv[1]]).main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="dev.py bench", description="Figures of the main path.")
    parser.add_argument("section", nargs="*", metavar="{" + ",".join(SECTIONS) + "}", help="default: all")
    chosen = parser.parse_args().section or list(SECTIONS)
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {unknown.pop()}: there are {', '.join(SECTIONS)}")
    for name in chosen:
        sys.stdout.write(f"\n## {name}\n")
        SECTIONS[name]()


if __name__ == "__main__":
    main()
