"""Keep the messages of libraries out of logs and terminals: they quote header values, which may be patient data.

pydicom warns by ``warnings`` and by its logger, and quotes the value. Auscult reports problems itself (see ``reasons``), so
nothing is lost.
"""

from __future__ import annotations

import logging
import warnings

from PIL import Image
from pydicom import config

_LIBRARY_LOGGERS = ("pydicom", "PIL", "imagecodecs", "tifffile")
_NOTHING = logging.CRITICAL + 1
# A warning is attributed to the caller named by its stack level, so the callers inside dicom_io are listed too.
_WARNING_MODULES = r"(pydicom|dicom_io|PIL)(\..*)?"


def quiet_libraries() -> None:
    """Silence pydicom and Pillow in this process; may be called repeatedly.

    Every reading function of dicom_io calls it, so no entry point has to. It sets process-wide state, because
    ``warnings.catch_warnings`` is not safe with threads.
    """
    config.settings.reading_validation_mode = config.IGNORE
    for name in _LIBRARY_LOGGERS:
        library = logging.getLogger(name)
        # Each call of setLevel empties the caches of all loggers.
        if library.level != _NOTHING:
            library.setLevel(_NOTHING)
    # Not added twice: filterwarnings() would remove the filter for a moment, in which another thread may warn.
    if not any(_is_ours(entry) for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=_WARNING_MODULES)
        # Pillow warns at the size of a decompression bomb; we refuse pictures below that size, with a reason.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _is_ours(entry: tuple[object, ...]) -> bool:
    return getattr(entry[3], "pattern", entry[3]) == _WARNING_MODULES
