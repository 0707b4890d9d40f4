"""Coverage-guided bytes for the readers of headers: ``python -m tests.fuzz.fuzz_headers [libFuzzer options] CORPUS``.

The promises are those of ``headers.examine``; what breaks one is written where -artifact_prefix says.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dicom_io"]):
    from tests.fuzz.headers import examine


def main() -> None:
    """Run until libFuzzer ends."""
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-", dir=_memory()) as folder:
        path = Path(folder, "x.dcm")

        def once(data: bytes) -> None:
            path.write_bytes(data)
            examine(path)

        atheris.Setup(sys.argv, once)
        atheris.Fuzz()


def _memory() -> str | None:
    """Where files cost no disk, if the system has such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main()
