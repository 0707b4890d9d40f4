"""The keys of objects: 32 random hexadecimal digits, the name of the object in the spool and in the store."""

from __future__ import annotations

import re
import threading
from typing import Final
from uuid import uuid4

from dicom_io.errors import SpoolError

KEY: Final = re.compile(r"[0-9a-f]{32}")
#: So many keys in a row begin with the same digits, of which the store makes the folder of an object. A new folder costs
#: several syncs until its name is durable, and one sync serves all objects of a folder that are filed together.
KEYS_TOGETHER: Final = 256
#: How many digits these are.
FOLDER_DIGITS: Final = 4


class Keys:
    """Gives keys that nobody has had; safe to use from all threads, and from several processes at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: How the next keys begin, and how many of them do.
        self._beginning, self._left = "", 0

    def new(self) -> str:
        """Return a key."""
        drawn = uuid4().hex
        with self._lock:
            if not self._left:
                self._beginning, self._left = drawn[:FOLDER_DIGITS], KEYS_TOGETHER
            self._left -= 1
            return self._beginning + drawn[FOLDER_DIGITS:]


def checked_key(key: str) -> str:
    """Return `key` if it is valid, so that no other text becomes part of a path.

    Raises
    ------
    SpoolError
        If `key` is not 32 hexadecimal digits.
    """
    if not KEY.fullmatch(key):
        raise SpoolError("Not a key of the spool: a key is 32 hexadecimal digits.")
    return key
