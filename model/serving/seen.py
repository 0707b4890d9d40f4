"""Which films a network was trained on, as digests: a bundle holds neither pictures nor names of them.

A film is recognised by its pixels, or by its file name where that is one of the public collection, whose films exist in
several sizes.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.dataset import patient_of_name
from model.data.film_digests import picture_digest
from model.errors import BundleError
from model.serving.manifest import SEEN_FILE, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from model.data.dataset import Picture

#: For bundles that were released before bundles held such digests: the file by the digest of their split.
_SHIPPED = {
    "28f4f846cd97158e3169cb267fc4b4a35e67c840b799e317a219a4ff3f38f65c": "chest_xray_train.npy",
    "96abb914ae578fb37b3c2ef5d7da331f5d5b829f741fef121852912d5b8d4151": "chest_xray_train.npy",
}


def digests_of(pictures: Sequence[Picture], reader: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint64]:
    """Digests of films, to be written beside a network that was trained on them.

    Parameters
    ----------
    pictures : sequence of Picture
        The films.
    reader : callable
        Gives the grey film of a path.

    Returns
    -------
    ndarray of uint64, shape (n, 2)
        For each film the first 64 bits of its ``picture_digest`` and of the digest of its name; 0 for a name outside
        the public collection, which could identify a patient. Sorted.
    """
    rows = [(_short(picture_digest(reader(picture.path))), _name_digest(picture.path)) for picture in pictures]
    return np.array(sorted(rows), dtype=np.uint64).reshape(-1, 2)


def seen_in_training(bundle: Path, films: Iterable[tuple[Path, str]]) -> int | None:
    """How many of these films a bundle's network was trained or calibrated on.

    Parameters
    ----------
    bundle : Path
        The bundle's folder.
    films : iterable of (Path, str)
        Path and ``picture_digest`` of each film.

    Returns
    -------
    int or None
        None where the bundle holds no such digests.

    Raises
    ------
    BundleError
        If its digests cannot be read.
    """
    known = _known(bundle, read_manifest(bundle))
    if known is None:
        return None
    pixels, names = ({int(value) for value in known[:, column]} - {0} for column in (0, 1))
    return sum(_short(digest) in pixels or _name_digest(path) in names for path, digest in films)


def _known(bundle: Path, manifest: dict[str, Any]) -> NDArray[np.uint64] | None:
    shipped = _SHIPPED.get(str(manifest["training_data"].get("split_digest")))
    if SEEN_FILE in manifest["files"]:
        path = bundle / SEEN_FILE
    elif shipped:
        path = Path(str(resources.files("model"))) / "seen_films" / shipped
    else:
        return None
    try:
        rows: NDArray[np.uint64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: copy or export the bundle again") from error
    return rows.reshape(-1, 2)


def _short(digest: str) -> int:
    return int(digest[:16], 16)


def _name_digest(path: Path) -> int:
    if patient_of_name(path.name) is None:
        return 0
    return _short(hashlib.sha256(path.stem.lower().encode()).hexdigest())
