"""Digests that stand for a film, whatever its file is called.

``film_sha256`` is the digest that SQL has of every film that was judged, so that rows of a report join
``result_history``. ``picture_digest`` is the one that bundles hold of their training films, and that the digest of a
set of films is made of: released bundles hold it, so it cannot change.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def film_sha256(film: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) over a film's size and pixels, as SQL has it in ``film_sha256``.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    rows, columns = film.shape
    return hashlib.sha256(f"{rows}x{columns}\n".encode("ascii") + film.tobytes()).hexdigest()


def picture_digest(film: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) over a film's size and pixels, as bundles have it; the size is written in another form.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey film, MONOCHROME2.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(f"{film.shape}\n".encode("ascii") + film.tobytes()).hexdigest()
