"""Coverage-guided bytes for the upper layer: ``python -m tests.fuzz.fuzz_pdus [libFuzzer options] CORPUS``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dicom_io", "pynetdicom"]):
    from tests.fuzz.pdus import examine


def main() -> None:
    """Run until libFuzzer ends."""
    atheris.Setup(sys.argv, examine)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
