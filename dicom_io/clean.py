"""Clean text: every database stores it, and every terminal shows it without acting on it."""

from __future__ import annotations

import re
import unicodedata

# Line ends and spaces of other widths. The ideographic space separates the parts of Japanese names and is kept.
_BLANKS = re.compile(r"(?!\u3000)\s")
# Control characters (PostgreSQL refuses NUL), lone surrogates (UTF-8 cannot hold them) and format characters
# (bidirectional overrides make a text look like another one). Persian and Indian names need the joiners.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Cf"})
_JOINERS = frozenset("\u200c\u200d")
# NFC would replace the variants of ideographs by which Japanese and Korean names differ.
_COMPOSED = re.compile("[^\uf900-\ufaff\U0002f800-\U0002fa1f]+")


def clean_text(text: str, limit: int) -> str:
    """Make a text safe for every database and terminal.

    Parameters
    ----------
    text : str
        Any text.
    limit : int
        The most characters to keep.

    Returns
    -------
    str
        The text composed (NFC), without control and format characters, surrogates and surrounding spaces, cut to
        ``limit`` characters. Variants of ideographs are kept, although NFC would replace them.
    """
    if text.isascii() and text.isprintable():
        return text.strip()[:limit].rstrip()
    kept = "".join(filter(_is_safe, _BLANKS.sub(" ", text)))
    composed = _COMPOSED.sub(lambda found: unicodedata.normalize("NFC", found[0]), kept)
    return composed.strip()[:limit].rstrip()


def _is_safe(char: str) -> bool:
    if unicodedata.category(char) in _UNSAFE_CATEGORIES:
        return char in _JOINERS
    # noncharacters are left out; an unassigned code point may be an ideograph that is newer than this Python
    return ord(char) & 0xFFFE != 0xFFFE and not "\ufdd0" <= char <= "\ufdef"
