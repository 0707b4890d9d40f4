"""Films changed in every way of ``perturb`` and prepared for a network, read ahead in two threads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from model.augmentation.perturb import PERTURBATIONS
from model.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from model.data.dataset import Picture

AHEAD = 64
"""Films that are read and changed while the network scores others."""

AT_ONCE = 32
"""Films that a network scores in one call, each in every changed form."""


def changed_films(
    pictures: Sequence[Picture], size: int, reader: Callable[[Path], NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """Each film changed in every way and prepared, uint8 (rows, size, size); read once, in two threads, ahead."""
    pending: deque[Future[NDArray[np.uint8]]] = deque()
    with ThreadPoolExecutor(2, "change") as pool:
        for picture in pictures:
            pending.append(pool.submit(_changed, picture.path, size, reader))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _changed(path: Path, size: int, reader: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    film = reader(path)
    return np.stack([prepare(each.change(film), size) for each in PERTURBATIONS])
