"""Keep the libraries' own words out of logs and off the terminal: they quote header values, which may be patient data.

pydicom warns through both ``warnings`` and its logger, and its sentences echo the value they complain about. Auscult
reports trouble in its own words (see ``reasons``), so nothing is lost by silencing them.
"""

from __future__ import annotations

import logging
import warnings

from PIL import Image
from pydicom import config

_LIBRARY_LOGGERS = ("pydicom", "PIL", "imagecodecs", "tifffile")
# A warning is attributed to the caller named by its stack level, so the callers inside dicom_io are listed too.
_WARNING_MODULES = r"(pydicom|dicom_io|PIL)(\..*)?"


def quiet_libraries() -> None:
    """Silence pydicom and Pillow in this process; calling it again is cheap and harmless.

    Every reading function of dicom_io calls it, so that the promise does not hang on the entry point; an entry point
    may call it first. It sets process-wide state on purpose: ``warnings.catch_warnings`` is not safe with threads.
    """
    config.settings.reading_validation_mode = config.IGNORE
    for name in _LIBRARY_LOGGERS:
        library = logging.getLogger(name)
        library.setLevel(logging.CRITICAL + 1)
    # Not added twice: filterwarnings() would take the filter out for a moment, in which another thread may warn.
    if not any(_is_ours(entry) for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_WARNING_MODULES)
        # Pillow warns at the size where it suspects a decode bomb; ours is refused below that size, with a reason.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _is_ours(entry: tuple[object, ...]) -> bool:
    return getattr(entry[3], "pattern", entry[3]) == _WARNING_MODULES
