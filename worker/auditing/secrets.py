"""Keyed digests of the secrets among the settings, so that the audit trail tells that one changed, and never its value.

HMAC-SHA-256 with a random key that stays in the data folder: who has the trail alone, or a copy of it at a syslog receiver,
cannot try passwords against it. Where the data folder takes no file there is no key, and there are no digests.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from worker.environment import libpq_passwords

if TYPE_CHECKING:
    from pathlib import Path

    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: Begins the names of the digests among the settings of an event.
PREFIX = "secret:"
#: Tells with which key the digests were made.
KEY_NAME = f"{PREFIX}key"
KEY_FILE = "audit.key"
KEY_BYTES = 32
#: Hexadecimal digits of a digest that are shown.
DIGITS = 16
#: Settings with a password, and settings that name a file whose content counts. The owner's URL is no setting of a process.
URLS = ("database_url", "broker_url")
FILES = ("tls_cert", "tls_key", "tls_ca", "webhook_secrets")


def secret_digests(settings: Settings) -> dict[str, str]:
    """A digest of each secret that is set, by the name of its setting, and of the key itself; none without a key."""
    contents = {name: str(getattr(settings, name)).encode() for name in URLS if getattr(settings, name)}
    if settings.database_url and settings.database_url.startswith("postgresql"):
        contents |= libpq_passwords()
    for name in FILES:
        path: Path | None = getattr(settings, name)
        if path is not None:
            with suppress(OSError):
                contents[name] = path.read_bytes()
    if not contents:
        return {}
    try:
        key = _key(settings.home)
    except OSError as error:
        extra = {"action": "audit_key", "error": type(error).__name__}
        logger.warning("no key for the digests of secrets: the audit trail will not tell that one changed", extra=extra)
        return {}
    digests = {PREFIX + name: _digest(key, name, content) for name, content in sorted(contents.items())}
    return {KEY_NAME: _digest(key, "", b""), **digests}


def _digest(key: bytes, name: str, content: bytes) -> str:
    """The name counts too, so that two settings with one password do not show that they have it."""
    return hmac.new(key, name.encode() + b"\0" + content, hashlib.sha256).hexdigest()[:DIGITS]


def _key(home: Path) -> bytes:
    """The key of a data folder, readable by its owner alone; made where there is none yet. Raises OSError."""
    path = home / KEY_FILE
    with suppress(FileNotFoundError):
        return path.read_bytes()
    draft = path.with_suffix(f".{uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
        # Another process may make one at the same moment: the first one counts.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
    return path.read_bytes()
