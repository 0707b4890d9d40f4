"""Decoding of DICOM text: the character sets of PS3.3 C.12.1.1.2, and what senders write in their place.

Code extensions follow PS3.5 6.1.2.5: an escape sequence puts a set into G0 (bytes below 0x80) or G1 (bytes above), and
a delimiter restores the sets that were declared first. pydicom's decoder is not used: it does not know ISO_IR 203,
leaves the escape sequence of ISO 2022 IR 58 in the text, accepts any Python codec that a header names, and quotes the
value in its warnings.

The declared character set is used if the bytes can be decoded by it. If they cannot, or if the result looks like UTF-8
decoded as something else, the bytes are decoded as UTF-8 if they are valid UTF-8, else by the code page that senders of
the declared set use by mistake. Decoding never fails; bytes that fit no reading become U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESC = b"\x1b"
_ESCAPE = re.compile(rb"\x1b([$()\-]+[@-~]|[$()\-]*)")
_CONTROL = re.compile(rb"[\x00-\x1a\x1c-\x1f]")
_NO_TEXT = re.compile("[\x80-\x9f\ue000-\uf8ff]")
_REPLACEMENT = "\ufffd"
# Letters by their Unicode category, but they occur in a name only where UTF-8 was decoded as Latin-1.
_SIGNS = frozenset("ªºµ")
_WESTERN = "cp1252"
_UTF_8 = "utf-8"
_UNICODE = frozenset({_UTF_8, "gb18030"})
_MULTI_BYTE = _UNICODE | frozenset({"gbk", "gb2312", "euc_kr", "euc_jp", "cp932", "cp949", "big5"})

#: ISO registration number -> Python codec of the set in G1, and the code page that senders write in its place.
SETS = {
    6: ("ascii", _WESTERN),
    100: ("latin_1", _WESTERN),
    101: ("iso8859_2", "cp1250"),
    109: ("iso8859_3", "cp1254"),
    110: ("iso8859_4", "cp1257"),
    144: ("iso8859_5", "cp1251"),
    127: ("iso8859_6", "cp1256"),
    126: ("iso8859_7", "cp1253"),
    138: ("iso8859_8", "cp1255"),
    148: ("iso8859_9", "cp1254"),
    203: ("iso8859_15", _WESTERN),
    166: ("tis_620", "cp874"),
    13: ("jis_x_0201", "cp932"),
    # these two are sets of G0, selected by an escape; bytes above 0x80 without an escape are Shift JIS
    87: ("ascii", "cp932"),
    159: ("ascii", "cp932"),
    149: ("euc_kr", "cp949"),
    58: ("gb2312", "gb18030"),
}
# Sets without code extensions (PS3.3 Table C.12-5), and codecs that senders declare although they are not defined
# terms.
_STAND_ALONE = {
    "GB18030": "gb18030",
    "GBK": "gbk",
    "ISO2022GBK": "gbk",
    "GB2312": "gb18030",
    **dict.fromkeys(("ISOIR192", "IR192", "ISO2022IR192", "UTF8", "ISO10646", "UNICODE"), _UTF_8),
    **dict.fromkeys(("SHIFTJIS", "SJIS", "CP932", "WINDOWS31J"), "cp932"),
    "EUCJP": "euc_jp",
    "EUCKR": "cp949",
    "BIG5": "big5",
    "KOI8R": "koi8_r",
    **{f"{name}{page}": f"cp{page}" for name in ("CP", "WINDOWS") for page in (*range(1250, 1259), 874)},
}
_LATIN_NUMBERS = {1: 100, 2: 101, 3: 109, 4: 110, 5: 144, 6: 127, 7: 126, 8: 138, 9: 148, 11: 166, 15: 203}
_TERM = re.compile(r"(?:ISO)?(?:2022)?(?:IR)?(\d{1,3})")
_LATIN_TERM = re.compile(r"(?:ISO)?8859(\d{1,2})")

# Escape sequence -> (code element, codec): PS3.3 Tables C.12-3 and C.12-4, then three older ones for the same sets.
_ESCAPES = {
    b"(B": (0, "ascii"),
    b"(J": (0, "ascii"),
    b")I": (1, "jis_x_0201"),
    b"-A": (1, "latin_1"),
    b"-B": (1, "iso8859_2"),
    b"-C": (1, "iso8859_3"),
    b"-D": (1, "iso8859_4"),
    b"-L": (1, "iso8859_5"),
    b"-G": (1, "iso8859_6"),
    b"-F": (1, "iso8859_7"),
    b"-H": (1, "iso8859_8"),
    b"-M": (1, "iso8859_9"),
    b"-T": (1, "tis_620"),
    b"-b": (1, "iso8859_15"),
    b"$B": (0, "euc_jp"),
    b"$(D": (0, "jis_x_0212"),
    b"$)C": (1, "euc_kr"),
    b"$)A": (1, "gb2312"),
    b"$@": (0, "euc_jp"),
    b"(I": (0, "jis_x_0201"),
    b"$(C": (0, "euc_kr"),
}


@dataclass(frozen=True, slots=True)
class CharacterSets:
    """The character sets of a data set.

    Attributes
    ----------
    first : str
        Python codec of the bytes above 0x7F at the start of a value and after each delimiter; "ascii" where no such
        bytes are expected.
    others : tuple of str
        Codecs to try, in this order, if the declared ones do not fit and the bytes are not UTF-8.
    """

    first: str = "ascii"
    others: tuple[str, ...] = (_WESTERN,)

    def decode(self, value: bytes, delimiters: bytes) -> str:
        """Decode a value.

        Parameters
        ----------
        value : bytes
            The element's bytes.
        delimiters : bytes
            The characters that restore the first sets (PS3.5 6.1.2.5.3).

        Returns
        -------
        str
            The text with its control characters; U+FFFD for bytes that cannot be decoded.
        """
        return "".join(self._runs(value, delimiters)) if _ESC in value else self._read(value, self.first)

    def _runs(self, value: bytes, delimiters: bytes) -> Iterator[str]:
        """Decode by code extensions, declared or not: an escape sequence names the set that follows."""
        sides = ["ascii", self.first]
        for number, part in enumerate(_ESCAPE.split(value)):
            if number % 2:
                side, codec = _ESCAPES.get(part, (1, sides[1]))
                sides[side] = codec
                continue
            is_shifted = sides[0] != "ascii"
            here, rest = _split_at_delimiter(part, delimiters, is_shifted=is_shifted)
            yield _unshifted(here, sides[0]) if is_shifted else self._read(here, sides[1])
            if rest:
                yield self._read(rest, self.first)
                sides = ["ascii", self.first]

    def _read(self, value: bytes, codec: str) -> str:
        if value.isascii():
            return value.decode("ascii")
        declared, utf_8 = _strict(value, codec), _as_utf_8(value)
        if declared is not None and (utf_8 is None or _is_believable(declared, utf_8, codec)):
            return declared
        if utf_8 is not None:
            return utf_8
        whole = next(name for name in (codec, *self.others) if name not in ("ascii", "jis_x_0201"))
        with_gaps = value.decode(whole, "replace")
        if codec in _MULTI_BYTE and any(char > "\x7f" and char != _REPLACEMENT for char in with_gaps):
            # most characters fit the declared set, so a damaged one does not change how the others are read
            return with_gaps
        readings = (_strict(value, other) for other in self.others)
        return next((text for text in readings if text is not None), with_gaps)


def declared_sets(specific_character_set: str) -> CharacterSets:
    """Read Specific Character Set (0008,0005) in any usual spelling.

    Parameters
    ----------
    specific_character_set : str
        The value, its parts joined by backslashes; "" when absent.

    Returns
    -------
    CharacterSets
        Unknown terms are ignored. Without a known one, text is ASCII, and UTF-8 or Windows-1252 if it is not ASCII.
    """
    terms = [re.sub(r"[^A-Z0-9]", "", term.upper()) for term in specific_character_set[:1024].split("\\")]
    codec = _STAND_ALONE.get(terms[0], "")
    if codec:
        return CharacterSets(codec, others=(_WESTERN,))
    first = _pair(terms[0])
    later = [codec for term in terms[1:] for codec in (_pair(term) or (_STAND_ALONE.get(term, ""),))]
    others = [codec for codec in (*(first or ())[1:], *later) if codec not in ("", "ascii", _WESTERN)]
    return CharacterSets(first[0] if first else "ascii", others=(*dict.fromkeys(others), _WESTERN))


def _pair(term: str) -> tuple[str, str] | None:
    latin = _LATIN_TERM.fullmatch(term)
    if latin:
        return SETS.get(_LATIN_NUMBERS.get(int(latin[1]), 0))
    number = _TERM.fullmatch(term)
    return SETS.get(int(number[1])) if number else None


def _strict(value: bytes, codec: str) -> str | None:
    """Decode by one codec; None if that fails. A last character that is cut in half is left out."""
    if codec == "jis_x_0201":
        return _strict(value, "shift_jis") if all(byte < 0x80 or 0xA1 <= byte <= 0xDF for byte in value) else None
    try:
        text = codecs.getincrementaldecoder(codec)().decode(value, final=False)
    except UnicodeError:
        return None
    # control characters of one-byte sets and gaps of Shift JIS show that the bytes belong to another code page
    return None if codec not in _UNICODE and _NO_TEXT.search(text) else text


def _as_utf_8(value: bytes) -> str | None:
    """Decode as UTF-8; None if that fails, or if only a cut last character is above ASCII."""
    text = _strict(value, _UTF_8)
    return text if text is not None and not text.isascii() else None


def _split_at_delimiter(part: bytes, delimiters: bytes, *, is_shifted: bool) -> tuple[bytes, bytes]:
    """Split before the first delimiter; in two-byte characters only control characters count as delimiters."""
    if is_shifted:
        found = _CONTROL.search(part)
        at = found.start() if found else len(part)
    else:
        at = min((place for byte in delimiters if (place := part.find(byte)) >= 0), default=len(part))
    return part[:at], part[at:]


def _unshifted(value: bytes, codec: str) -> str:
    """Decode characters of G0: their codes are those of G1 without the eighth bit."""
    high = bytes(byte | 0x80 if byte > 0x20 else byte for byte in value)
    if codec == "jis_x_0212":
        # EUC-JP marks this set by a byte before each character
        high, codec = b"".join(b"\x8f" + high[at : at + 2] for at in range(0, len(high), 2)), "euc_jp"
    return _strict(high, codec) or high.decode("shift_jis" if codec == "jis_x_0201" else codec, "replace")


def _is_believable(declared: str, utf_8: str, codec: str) -> bool:
    """Whether the declared reading is the better one for bytes that are valid UTF-8 too."""
    if codec == _UTF_8:
        return True
    if codec in _MULTI_BYTE:
        # common characters, or bytes that are two-byte letters as UTF-8, which East Asian text in UTF-8 does not have
        is_common = codec.startswith("gb") and _strict(declared.encode(codec), "gb2312") is not None
        return is_common or any("\x7f" < char < "\u0800" for char in utf_8)
    return _looks_written(declared)


def _looks_written(text: str) -> bool:
    """Whether a text looks like words: only letters and marks above ASCII, and capitals only where words have them."""
    if not all(char < "\x80" or (char.isalpha() and char not in _SIGNS) or _is_mark(char) for char in text):
        return False
    # UTF-8 decoded by a one-byte set has capitals before small letters in the middle of words
    neighbours = zip(" " + text, text, text[1:] + " ", strict=False)
    return not any(
        char > "\x7f" and char.isupper() and before.isalpha() and (before.islower() or after.islower())
        for before, char, after in neighbours
    )


def _is_mark(char: str) -> bool:
    # Python does not count vowel signs of Thai and points of Hebrew and Arabic as letters
    return "\u0591" <= char <= "\u065f" or "\u0e30" <= char <= "\u0e59"
