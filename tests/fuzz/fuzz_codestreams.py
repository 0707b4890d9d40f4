"""Coverage-guided code streams: ``python -m tests.fuzz.fuzz_codestreams [libFuzzer options] CORPUS``.

The first byte of an input chooses the seed whose header and transfer syntax the rest is read with; the promises are
those of ``codestreams.end_of``, and what breaks one is written where -artifact_prefix says.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dicom_io"]):
    from tests.fuzz.codestreams import end_of, seeds


def main() -> None:
    """Run until libFuzzer ends."""
    streams = seeds()
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        path = Path(folder, "film.dcm")

        def once(data: bytes) -> None:
            if data:
                end_of(streams[data[0] % len(streams)].file(data[1:]), path)

        atheris.Setup(sys.argv, once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
