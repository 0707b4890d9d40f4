"""The meanings of words in headers, looked up in the table ``vocabulary.toml``.

The table holds the words for body parts and views by language. It is read once, when the first text is looked up.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path

__all__ = ["Meaning", "fold", "fold_keeping_digits", "is_made_of", "meanings", "table"]

_TABLE = Path(__file__).with_name("vocabulary.toml")
#: No description has more letters.
_LONGEST_TEXT = 2048
#: The most words of a phrase.
_LONGEST_PHRASE = 3
#: Words written together: the longest compound that is split, and the shortest parts it may have.
_LONGEST_COMPOUND, _LEAST_OF_COMPOUND, _LEAST_OTHER_PART = 32, 2, 4
#: Chinese, Japanese and Thai do not separate words by blanks.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_RUN = re.compile(f"([{_UNSPACED}]+)")
_BETWEEN_UNSPACED = re.compile(rf"(?<=[{_UNSPACED}])[^\w\s{_UNSPACED}]+(?=[{_UNSPACED}])")
_DIGITS = re.compile(r"\d+")
_ASCII_BLANKS = re.compile(r"[^0-9A-Z]+")
#: Letters that Unicode does not decompose into a plain letter and an accent.
_PLAIN = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "\u0131": "i",
        "æ": "ae",
        "Æ": "AE",
    }
    | {"œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH", "ð": "d", "Ð": "D"}
)


class Meaning(StrEnum):
    """The meanings of words; the values are the names of the lists in the table, which explains them."""

    CHEST = "chest"
    THORACIC = "thoracic"
    OTHER = "other"
    ALONE = "alone"
    FRONTAL = "frontal"
    LATERAL = "lateral"
    OBLIQUE = "oblique"
    DECUBITUS = "decubitus"
    BESIDE = "beside"
    EMPTY = "empty"


Meanings = frozenset[Meaning]
_NOTHING: Meanings = frozenset()


@dataclass(slots=True)
class _Lexicon:
    """The table's entries, folded: whole words and phrases, beginnings of words, and pieces found in any word."""

    whole: dict[str, Meanings] = field(default_factory=dict)
    stems: dict[str, Meanings] = field(default_factory=dict)
    pieces: dict[str, Meanings] = field(default_factory=dict)

    def add(self, entry: str, meaning: Meaning) -> None:
        key = fold(entry)
        if entry.startswith("*") or (_UNSPACED_RUN.search(key) and " " not in key):
            kind = self.pieces
        else:
            kind = self.stems if entry.endswith("*") else self.whole
        kind[key] = kind.get(key, _NOTHING) | {meaning}


def fold(text: str) -> str:
    """Fold a text: capitals without accents, punctuation and digits, words separated by single blanks."""
    return " ".join(_DIGITS.sub(" ", fold_keeping_digits(text)).split())


def fold_keeping_digits(text: str) -> str:
    """Fold a text and keep its digits: capitals without accents and punctuation, words separated by single blanks.

    A run of Chinese, Japanese or Thai is one word; punctuation within it is removed.
    """
    if text.isascii():
        # The same in one step; nearly all texts are.
        return " ".join(_ASCII_BLANKS.sub(" ", text.upper()).split())
    plain = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    letters = "".join(char for char in plain if not unicodedata.combining(char)).upper()
    # composed again, because a Korean syllable is one letter
    whole = unicodedata.normalize("NFC", _BETWEEN_UNSPACED.sub("", letters))
    return " ".join(_UNSPACED_RUN.sub(r" \1 ", "".join(map(_letter_or_blank, whole))).split())


def _letter_or_blank(char: str) -> str:
    # the vowels of Thai and of Indian scripts are marks, not letters
    return char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "


@cache
def table() -> dict[str, dict[Meaning, tuple[str, ...]]]:
    """Return the table: for each language (and "common") its entries by meaning, as written."""
    lists = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return {
        language: {Meaning(name): tuple(entries.split()) for name, entries in meanings_.items()}
        for language, meanings_ in lists.items()
    }


def meanings(text: str) -> Meanings:
    """Return the meanings of the words of a text.

    Parameters
    ----------
    text : str
        A folded text (``fold``); only its first 2,048 characters are used.

    Returns
    -------
    frozenset of Meaning
        The meanings of all its words; empty if no word is known.
    """
    return _meanings(text[:_LONGEST_TEXT])


def is_made_of(text: str, allowed: Meanings) -> bool:
    """Whether a folded text consists only of whole ASCII words of the table that have an allowed meaning."""
    whole = _lexicon().whole
    return text.isascii() and all(whole.get(word, _NOTHING) & allowed for word in text.split())


@cache
def _lexicon() -> _Lexicon:
    lexicon = _Lexicon()
    for lists in table().values():
        for meaning, entries in lists.items():
            for entry in entries:
                lexicon.add(entry, meaning)
    return lexicon


@lru_cache(maxsize=1024)
def _meanings(text: str) -> Meanings:
    words = text.split()
    found: set[Meaning] = set()
    at = 0
    while at < len(words):
        length, of_phrase = _phrase(words[at : at + _LONGEST_PHRASE])
        found |= of_phrase or _of_word(words[at])
        at += length
    return frozenset(found)


def _phrase(words: list[str]) -> tuple[int, Meanings]:
    """The number of words and the meanings of the longest phrase at the start; (1, nothing) if there is none."""
    whole = _lexicon().whole
    for length in range(len(words), 1, -1):
        if (of_phrase := whole.get(" ".join(words[:length]))) is not None:
            return length, of_phrase
    return 1, _NOTHING


def _of_word(word: str) -> Meanings:
    lexicon = _lexicon()
    return lexicon.whole.get(word) or _of_compound(word) or _of_stem(word) | _of_pieces(word)


def _of_stem(word: str) -> Meanings:
    stems = _lexicon().stems
    longest = min(len(word), _LONGEST_COMPOUND)
    return next((stems[word[:end]] for end in range(longest, 0, -1) if word[:end] in stems), _NOTHING)


def _of_pieces(word: str) -> Meanings:
    """The meanings of the pieces in a word; each letter counts once, for the longest piece that it belongs to."""
    pieces = _lexicon().pieces
    if word.isascii():
        return _NOTHING
    longest = max(map(len, pieces))
    found: set[Meaning] = set()
    at = 0
    while at < len(word):
        piece = next((word[at:end] for end in range(at + longest, at, -1) if word[at:end] in pieces), "")
        found |= pieces.get(piece, _NOTHING)
        at += len(piece) or 1
    return frozenset(found)


def _of_compound(word: str) -> Meanings:
    """The meanings of the words in a compound ("CHESTLAT"); nothing unless one of them names a body part."""
    if not word.isascii() or len(word) > _LONGEST_COMPOUND:
        return _NOTHING
    parts = _parts_of_compound(word)
    if not any(_names_part(part) for part in parts):
        return _NOTHING
    return _NOTHING.union(*(_lexicon().whole[part] for part in parts))


def _names_part(word: str) -> bool:
    found = _lexicon().whole[word]
    return Meaning.CHEST in found or (Meaning.OTHER in found and len(word) >= _LEAST_OTHER_PART)


def _parts_of_compound(word: str) -> list[str]:
    """Split a word into the fewest words of the table; empty if that is not possible."""
    whole = _lexicon().whole
    best: list[list[str] | None] = [[], *[None] * len(word)]
    for end in range(_LEAST_OF_COMPOUND, len(word) + 1):
        for start in range(end - _LEAST_OF_COMPOUND + 1):
            before, part = best[start], word[start:end]
            if before is None or not whole.get(part, _NOTHING) - {Meaning.EMPTY, Meaning.ALONE}:
                continue
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = [*before, part]
    return best[len(word)] or []
