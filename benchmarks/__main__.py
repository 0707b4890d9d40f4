"""``python3 dev.py bench [film] [network] [registration] [throughput] [memory]``: print the figures, all of these by default.

``python3 dev.py bench soak`` runs an hour alone (`benchmarks.soak.run`), ``python3 dev.py bench ingest``, ``bench
migrations`` and ``bench sql`` some minutes (`benchmarks.ingest.run`, `benchmarks.migrations`, `benchmarks.sql.run`).

Timings on a shared machine are noisy, so two ways are timed in turns within one run and only their ratio is worth
quoting; the medians beside it say what machine it was.
"""

from __future__ import annotations

import argparse
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
    "memory": serving.memory,
}


def main() -> None:
    """Run the sections named on the command line."""
    if sys.argv[1:2] == ["soak"]:
        from benchmarks.soak import run  # its servers come from the tests' packages

        sys.exit(run.main(sys.argv[2:]))
    if sys.argv[1:2] == ["sql"]:
        from benchmarks.sql import run as sql  # as above

        sys.exit(sql.main(sys.argv[2:]))
    if sys.argv[1:2] == ["ingest"]:
        from benchmarks.ingest import run as ingest  # as above

        sys.exit(ingest.main(sys.argv[2:]))
    if sys.argv[1:2] == ["migrations"]:
        from benchmarks import migrations  # as above

        sys.exit(migrations.main(sys.argv[2:]))
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
