"""The bytes of a DICOM text in Unicode: the character sets of PS3.3 C.12.1.1.2, and what senders write in their place.

Code extensions are read as PS3.5 6.1.2.5 has them: an escape sequence puts a set into G0 (bytes below 0x80) or G1 (bytes
above), a delimiter puts the first declared sets back. pydicom's decoder is not used: it knows no ISO_IR 203, leaves the
escape sequence of ISO 2022 IR 58 in the text, takes any codec of Python a header names and warns by quoting the value.

A declaration is a claim. It is believed when the bytes can be read by it; when they cannot, or when the reading looks
like UTF-8 read as something else, the bytes are taken for UTF-8 if they are valid UTF-8, else for the code page that
senders of the declared set use by mistake. Every text is read; what no reading explains becomes U+FFFD.
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
# Letters by their category, but signs in every name: they stand where UTF-8 was read as Latin-1.
_SIGNS = frozenset("ªºµ")
_WESTERN = "cp1252"
_UTF_8 = "utf-8"
_UNICODE = frozenset({_UTF_8, "gb18030"})
_MULTI_BYTE = _UNICODE | frozenset({"gbk", "gb2312", "euc_kr", "euc_jp", "cp932", "cp949", "big5"})

#: ISO registration number -> Python's codec of the set in G1, code page that senders write in its place.
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
    # these two live in G0, reached by escape alone; what stands above 0x80 without one is Shift JIS
    87: ("ascii", "cp932"),
    159: ("ascii", "cp932"),
    149: ("euc_kr", "cp949"),
    58: ("gb2312", "gb18030"),
}
# Sets without code extensions (PS3.3 Table C.12-5), and codecs that are no defined terms but are declared all the same.
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

# Escape sequence -> (element, codec): PS3.3 Tables C.12-3 and C.12-4, then three that old writers use for the same sets.
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
    """How the texts of a data set are coded.

    Attributes
    ----------
    first : str
        Python's codec of the bytes above 0x7F at the start of a value and after each delimiter; "ascii" where there
        should be none.
    others : tuple of str
        Codecs to try, in this order, where the declared ones do not fit and the bytes are not UTF-8 either.
    """

    first: str = "ascii"
    others: tuple[str, ...] = (_WESTERN,)

    def decode(self, value: bytes, delimiters: bytes) -> str:
        """Read a value.

        Parameters
        ----------
        value : bytes
            The element's bytes.
        delimiters : bytes
            The characters at which the first sets come back (PS3.5 6.1.2.5.3).

        Returns
        -------
        str
            The text, control characters and all; U+FFFD for what cannot be read.
        """
        return "".join(self._runs(value, delimiters)) if _ESC in value else self._read(value, self.first)

    def _runs(self, value: bytes, delimiters: bytes) -> Iterator[str]:
        """Read by code extensions, those declared and any other: an escape sequence says itself what follows."""
        sides = ["ascii", self.first]
        for number, part in enumerate(_ESCAPE.split(value)):
            if number % 2:
                side, codec = _ESCAPES.get(part, (1, sides[1]))
                sides[side] = codec
                continue
            is_shifted = sides[0] != "ascii"
            here, rest = _parted(part, delimiters, is_shifted=is_shifted)
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
            # most of it is what was declared: a damaged character is no reason to read the others as something else
            return with_gaps
        readings = (_strict(value, other) for other in self.others)
        return next((text for text in readings if text is not None), with_gaps)


def declared_sets(specific_character_set: str) -> CharacterSets:
    """What Specific Character Set (0008,0005) declares, however it is spelt.

    Parameters
    ----------
    specific_character_set : str
        The value, its parts joined by backslashes; "" when there is none.

    Returns
    -------
    CharacterSets
        A term that means nothing is left out; without any, text is ASCII, and UTF-8 or Windows-1252 where it is not.
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
    """Read by one codec; None when it cannot be. A last character cut in half is left out."""
    if codec == "jis_x_0201":
        return _strict(value, "shift_jis") if all(byte < 0x80 or 0xA1 <= byte <= 0xDF for byte in value) else None
    try:
        text = codecs.getincrementaldecoder(codec)().decode(value, final=False)
    except UnicodeError:
        return None
    # where a one-byte set has a control and Shift JIS a gap, the byte means a letter of some other code page
    return None if codec not in _UNICODE and _NO_TEXT.search(text) else text


def _as_utf_8(value: bytes) -> str | None:
    """Read as UTF-8; None when it is none, or none but for a last byte that would begin a character."""
    text = _strict(value, _UTF_8)
    return text if text is not None and not text.isascii() else None


def _parted(part: bytes, delimiters: bytes, *, is_shifted: bool) -> tuple[bytes, bytes]:
    """What stands before the first delimiter, and the rest; two-byte characters may hold a delimiter's byte."""
    if is_shifted:
        found = _CONTROL.search(part)
        at = found.start() if found else len(part)
    else:
        at = min((place for byte in delimiters if (place := part.find(byte)) >= 0), default=len(part))
    return part[:at], part[at:]


def _unshifted(value: bytes, codec: str) -> str:
    """Read characters of G0: their codes are those of G1 without the eighth bit."""
    high = bytes(byte | 0x80 if byte > 0x20 else byte for byte in value)
    if codec == "jis_x_0212":
        # EUC-JP tells this set by a third byte in front
        high, codec = b"".join(b"\x8f" + high[at : at + 2] for at in range(0, len(high), 2)), "euc_jp"
    return _strict(high, codec) or high.decode("shift_jis" if codec == "jis_x_0201" else codec, "replace")


def _is_believable(declared: str, utf_8: str, codec: str) -> bool:
    """Whether the declared reading of bytes that are valid UTF-8 too is the better one."""
    if codec == _UTF_8:
        return True
    if codec in _MULTI_BYTE:
        # common characters, or such as UTF-8 would make two-byte letters of: no East Asian UTF-8 looks like that
        is_common = codec.startswith("gb") and _strict(declared.encode(codec), "gb2312") is not None
        return is_common or any("\x7f" < char < "\u0800" for char in utf_8)
    return _looks_written(declared)


def _looks_written(text: str) -> bool:
    """Whether a reading looks like words: letters and marks alone above ASCII, no capital where words have none."""
    if not all(char < "\x80" or (char.isalpha() and char not in _SIGNS) or _is_mark(char) for char in text):
        return False
    # UTF-8 read as one-byte letters has a capital before each small one, in the middle of words too
    neighbours = zip(" " + text, text, text[1:] + " ", strict=False)
    return not any(
        char > "\x7f" and char.isupper() and before.isalpha() and (before.islower() or after.islower())
        for before, char, after in neighbours
    )


def _is_mark(char: str) -> bool:
    # vowel signs of Thai and points of Hebrew and Arabic are no letters for Python
    return "\u0591" <= char <= "\u065f" or "\u0e30" <= char <= "\u0e59"
