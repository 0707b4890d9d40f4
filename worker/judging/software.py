"""The versions of what this process runs, as far as a film or a score depends on them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from worker.db.tasks.workers import Software

#: Beside our own code; TensorFlow is there where it is installed for the Keras engine.
LIBRARIES = ("ai-edge-litert", "imagecodecs", "numpy", "pillow", "pydicom", "sqlalchemy", "tensorflow-cpu")


def software() -> Software:
    """Read the versions of Auscult, Python and the libraries; a library that is not installed has None."""
    return Software(version("auscult"), platform.python_version(), {name: _version_of(name) for name in LIBRARIES})


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
