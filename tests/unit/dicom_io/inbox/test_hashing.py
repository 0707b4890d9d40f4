"""Large parts are hashed behind their arrival while a processor is free for it; the digests are the same either way."""

from __future__ import annotations

import hashlib
import threading

import pytest

from dicom_io.header.digests import RunningDigests
from dicom_io.inbox import hashing
from dicom_io.inbox.hashing import LEAST_BYTES, DigestsBehind

PART = bytes(range(256)) * (LEAST_BYTES // 256)


class Held(RunningDigests):
    """Digests that wait in each update until the test lets them go on."""

    def __init__(self) -> None:
        super().__init__(0, len(PART))
        self.began, self.may_go_on = threading.Event(), threading.Event()

    def update(self, part: bytes | memoryview | bytearray) -> None:
        self.began.set()
        assert self.may_go_on.wait(30)
        super().update(part)


@pytest.fixture
def processors(monkeypatch):
    """Sets how many processors there are."""

    def there_are(count: int) -> None:
        monkeypatch.setattr(hashing, "_most_at_once", lambda: count - 1)
        for cached in (hashing._threads, hashing._free):
            cached.cache_clear()

    yield there_are
    monkeypatch.undo()
    for cached in (hashing._threads, hashing._free):
        cached.cache_clear()


def test_as_many_objects_as_there_are_further_processors_are_hashed_behind(processors):
    processors(2)
    held, other = Held(), DigestsBehind(RunningDigests(0, len(PART)))
    behind = DigestsBehind(held)
    behind.update([PART])
    assert held.began.wait(30)
    assert behind.is_behind
    # The thread is taken: this one is hashed at once.
    other.update([PART])
    assert not other.is_behind
    held.may_go_on.set()
    digest = hashlib.sha256(PART).hexdigest()
    assert behind.result().dataset == other.result().dataset == digest
    # It is free again.
    held.may_go_on.clear()
    held.began.clear()
    behind.update([PART])
    assert behind.is_behind
    held.may_go_on.set()
    assert behind.result().dataset == hashlib.sha256(2 * PART).hexdigest()


def test_a_failed_thread_is_free_again_and_its_failure_is_told(processors):
    processors(2)
    behind = DigestsBehind(RunningDigests(0, len(PART)))
    for _ in range(3):
        behind.update(["no bytes" * len(PART)])  # type: ignore[list-item]
        with pytest.raises(TypeError):
            behind.wait()
    assert hashing._free().acquire(blocking=False)


def test_one_processor_hashes_what_it_receives(processors):
    processors(1)
    behind = DigestsBehind(RunningDigests(None, 0))
    behind.update([PART, PART])
    assert not behind.is_behind
    assert behind.result().dataset == hashlib.sha256(2 * PART).hexdigest()
