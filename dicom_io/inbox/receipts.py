"""What is known of the objects that this process has received: their digests, for the registrar of the same process.

They are kept in memory only, so that no crash leaves a digest that does not match the bytes. Who finds none reads the file.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicom_io.header.digests import ReceivedDigests

#: So many are kept, about 2 MiB; the oldest goes first.
MOST: Final = 4096


class Receipts:
    """The digests of received objects by their keys; safe to use from all threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._digests: dict[str, ReceivedDigests] = {}

    def note(self, key: str, digests: ReceivedDigests) -> None:
        """Keep the digests of an object that is durable."""
        with self._lock:
            self._digests[key] = digests
            if len(self._digests) > self._most:
                del self._digests[next(iter(self._digests))]

    def of(self, key: str) -> ReceivedDigests | None:
        """Return the digests of an object; None if this process has not received it, or long ago."""
        with self._lock:
            return self._digests.get(key)

    def forget(self, key: str) -> None:
        """Forget an object that has left the inbox."""
        with self._lock:
            self._digests.pop(key, None)
