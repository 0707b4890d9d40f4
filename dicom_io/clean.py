"""Text that every database takes, that shows on every terminal as what it is, and does nothing there."""

from __future__ import annotations

import re
import unicodedata

# Line ends and blanks of other widths; the ideographic space parts Japanese names and stays.
_BLANKS = re.compile(r"(?!\u3000)\s")
# Control characters (NUL breaks PostgreSQL text), lone surrogates (they break UTF-8), format characters (bidirectional
# overrides show a text as another one). The joiners are letters' business in Persian and Indian names.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Cf"})
_JOINERS = frozenset("\u200c\u200d")
# NFC would also replace the variants of ideographs that Japanese and Korean names are told apart by.
_COMPOSED = re.compile("[^\uf900-\ufaff\U0002f800-\U0002fa1f]+")


def clean_text(text: str, limit: int) -> str:
    """Text that every database and terminal takes.

    Parameters
    ----------
    text : str
        Any text.
    limit : int
        The most characters to keep.

    Returns
    -------
    str
        The text composed (NFC) and without control and format characters, surrogates and outer blanks, cut to
        ``limit`` characters. Ideographs keep their variant, which NFC would change.
    """
    if text.isascii() and text.isprintable():
        return text.strip()[:limit].rstrip()
    kept = "".join(filter(_is_safe, _BLANKS.sub(" ", text)))
    composed = _COMPOSED.sub(lambda found: unicodedata.normalize("NFC", found[0]), kept)
    return composed.strip()[:limit].rstrip()


def _is_safe(char: str) -> bool:
    if unicodedata.category(char) in _UNSAFE_CATEGORIES:
        return char in _JOINERS
    # noncharacters; a code point that is merely unassigned may be an ideograph younger than this Python
    return ord(char) & 0xFFFE != 0xFFFE and not "\ufdd0" <= char <= "\ufdef"
