"""The version of the code that makes films, in a file of its own: who asks for it loads no decoder."""

from __future__ import annotations

#: A change that alters a byte of any film must raise it.
FILM_VERSION = 5
