"""Whether an original really lies in the store: SQL says where it should, only the disk says that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.errors import NotDicom
from dicom_io.header import dataset_sha256

if TYPE_CHECKING:
    from dicom_io.store import Store


def is_intact(store: Store, key: str, sha256: str) -> bool:
    """Whether the store has the original under `key`, with the data set that was received."""
    try:
        return dataset_sha256(store.path(key)) == sha256
    except (NotDicom, OSError):
        return False
