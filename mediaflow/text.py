"""Text normalization, the same for the index and for queries, so that a word is found as it stands.

The full-text tables hold tokens made here, joined with spaces; SQLite's tokenizer only splits at the spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# A longer word is cut, in the index and in a query alike.
MAX_TOKEN = 64
# How much of a line without spaces is joined with the next passage.
MAX_BRIDGE = 20
# What begins with a word of this length is taken for a form of it: Rechnung, Rechnungen.
PREFIX_FROM = 5
# A longer run of Chinese characters is a sentence rather than a word, and is looked up in pairs too.
MAX_HAN_WORD = 4
# ASCII characters besides letters and digits that are in tokens; SQLite's tokenizer is told of them.
SYMBOLS = "$+<=>|~"

_HAN = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u31c0-\u31ef\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_HIRAGANA = "\u3041-\u309f\U0001b001-\U0001b11f"
_KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
# Hangul, Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Bopomofo, Yi and others that are
# written without spaces, or (Korean) with endings and compounds that hide a word in a longer one.
_OTHERS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u3031-\u3035\u3100-\u318f\u31a0-\u31bf\ua000-\ua4cf\ua960-\ua9ff\uaa60-\uaa7f\uac00-\ud7ff\uffa0-\uffdc"
    "\U00016fe0-\U00018d8f\U0001aff0-\U0001b000\U0001b120-\U0001b2ff"
)
_UNSPACED = f"{_HAN}{_HIRAGANA}{_KATAKANA}{_OTHERS}"
_UNSPACED_RUN = re.compile(f"([{_UNSPACED}]+)")
_SCRIPT_RUNS = re.compile(f"[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+|[{_OTHERS}]+")
_HAN_RUN, _HIRAGANA_RUN = re.compile(f"[{_HAN}]+"), re.compile(f"[{_HIRAGANA}]+")
# A line end between two such characters divides nothing.
_WRAPPED = re.compile(f"(?<=[{_UNSPACED}])[ \\t\u3000]*[\n\r\v\f\x85\u2028\u2029]\\s*(?=[{_UNSPACED}])")
_LINE_END, _LINE_START = (
    re.compile(f"[{_UNSPACED}]{{1,{MAX_BRIDGE}}}$"),
    re.compile(f"[{_UNSPACED}]{{1,{MAX_BRIDGE}}}"),
)
# What a word is divided with at the end of a line, and what may follow it unseen.
HYPHENS = "-\u2010\u2011\u2012\u2013\u2212\xac\xad\u2e17=\u200b\u200c\u200d\ufeff"

# German (and Danish, Norwegian, Swedish) spellings of letters that a keyboard lacks, after decomposition.
_SPELLED = re.compile("[aou]\u0308|a\u030a|ø")
_SPELLINGS = {"a\u0308": "ae", "o\u0308": "oe", "u\u0308": "ue", "a\u030a": "aa", "ø": "oe"}
# Letters that Unicode neither decomposes nor names after another letter.
_LETTERS = {"æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ı": "i", "ȷ": "j", "ĸ": "k", "ŋ": "ng", "ß": "ss"}
_STROKE = re.compile("LATIN SMALL LETTER ([A-Z]) WITH ")
# Default-ignorable code points that are no format characters (Cf), and the Arabic stretching of a line.
_IGNORED = re.compile(
    "[\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]"
)
# Modifier letters that people use for an apostrophe, and the slash within ½.
_APART = re.compile("[\u02b9-\u02c0\u2044]")


class _Characters(dict[int, str]):
    """What becomes of each character of decomposed, casefolded text; worked out when it first comes by."""

    def __missing__(self, code: int) -> str:
        self[code] = value = _character(chr(code))
        return value


_TABLE = _Characters()


@dataclass(frozen=True, slots=True)
class Unit:
    """A word as it is looked up: the tokens of each of its spellings, joined with spaces.

    `prefix` says that what begins with it counts too.
    """

    text: str
    forms: tuple[str, ...]
    prefix: bool


def fold(text: str) -> str:
    """Text in the form in which it is compared: words apart by spaces, without case, accents and variants.

    Applied again it changes nothing.
    """
    return _compose(_decompose(text))


def tokens(text: str) -> list[str]:
    """The tokens of a text as they are indexed, in order.

    Scripts without spaces give overlapping pairs of characters and, at the end of a run, its last one, so
    that any part of a run is a phrase of tokens.
    """
    return list(_tokens(fold(text)))


def document(text: str, following: str = "") -> str:
    """What the index holds for a text: its tokens, and those of other ways to type what stands there.

    `following` is the text that comes after it: a word may be divided between them.
    """
    joined = _joined_words(text.splitlines(), following.splitlines())
    parts = [_decompose(_WRAPPED.sub("", text)), *map(_decompose, joined)]
    spelled = [_spell(chunk) for part in parts for chunk in part.split() if _SPELLED.search(chunk)]
    return " ".join(token for part in [*parts, *spelled] for token in _tokens(_compose(part)))


def units(query: str) -> list[Unit]:
    """The words of a query, in order; of a run without spaces its parts by script."""
    decomposed = _decompose(query)
    found = _units(_compose(decomposed))
    if not _SPELLED.search(decomposed):
        return [Unit(text, (form,), prefix) for text, form, prefix in found]
    spelled = _units(_compose(_spell(decomposed)))
    return [
        Unit(text, tuple(dict.fromkeys((form, other))), prefix)
        for (text, form, prefix), (_, other, _) in zip(found, spelled, strict=True)
    ]


def phrase(chunk: str, limit: int) -> Unit:
    """A piece of a query that is typed without a space, as one phrase of at most `limit` tokens."""
    decomposed = _decompose(chunk)
    spellings = dict.fromkeys((_compose(decomposed), _compose(_spell(decomposed))))
    forms = []
    for folded in spellings:
        found = list(_tokens(folded))
        if len(found) > 1 and _UNSPACED_RUN.fullmatch(found[-2] + found[-1]) and len(found[-2]) > 1:
            del found[-1]  # the last character of a run stands alone only where the run ends
        forms.append(found[:limit])
    last = forms[0][-1] if forms[0] else ""
    return Unit(" ".join(forms[0]), tuple(map(" ".join, forms)), is_prefix(last) and len(forms[0]) < limit)


def is_prefix(word: str) -> bool:
    """Whether what begins with a folded word counts as well."""
    return len(word) >= PREFIX_FROM or (len(word) == 1 and is_unspaced(word))


def is_unspaced(text: str) -> bool:
    """Whether a folded text is a run of a script that is written without spaces."""
    return _UNSPACED_RUN.fullmatch(text) is not None


def is_weak(word: str) -> bool:
    """Whether a folded word says little beside others: one letter, a particle, a sign of ASCII."""
    if len(word) > 1:
        return False
    return not (
        word.isdigit() or (is_unspaced(word) and not _HIRAGANA_RUN.fullmatch(word)) or _is_symbol(word)
    )


def _is_symbol(character: str) -> bool:
    return not character.isascii() and not character.isalnum()


def _decompose(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


def _compose(decomposed: str) -> str:
    folded = decomposed.translate(_TABLE)
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def _spell(decomposed: str) -> str:
    return _SPELLED.sub(lambda match: _SPELLINGS[match[0]], decomposed)


def _character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or category == "Me" or _IGNORED.match(character):
        return ""
    if category[0] == "M":
        return "" if _is_accent(unicodedata.combining(character)) else character
    if _APART.match(character):
        return " "
    if category[0] == "L":
        return _LETTERS.get(character) or _without_stroke(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category[0] == "N" or _UNSPACED_RUN.match(character):
        return character
    if category in ("Sm", "Sc", "So", "Co", "Cn"):  # signs, pictures, and those of a newer Unicode
        return f" {character} "
    return " "


def _is_accent(combining: int) -> bool:
    """Whether people leave out marks of this class: accents, and vowel points of Hebrew and Arabic.

    Vowel signs, tone marks and viramas of the scripts of India and beyond, and the voicing of kana make
    another word.
    """
    return combining in (1, 7) or 10 <= combining <= 36 or combining >= 200


def _without_stroke(letter: str) -> str:
    if letter.isascii():
        return letter
    named = _STROKE.match(unicodedata.name(letter, ""))
    return named[1].lower() if named else letter


def _tokens(folded: str) -> Iterator[str]:
    for chunk in folded.split():
        if chunk.isascii():
            yield chunk[:MAX_TOKEN]
            continue
        for piece in _UNSPACED_RUN.split(chunk):
            if is_unspaced(piece):
                yield from (piece[at : at + 2] for at in range(len(piece)))
            elif piece:
                yield piece[:MAX_TOKEN]


def _units(folded: str) -> list[tuple[str, str, bool]]:
    """(text, its tokens, whether it is a prefix) of the words of a folded query."""
    found = []
    for chunk in folded.split():
        for piece in _UNSPACED_RUN.split(chunk):
            if not is_unspaced(piece):
                found += [(piece[:MAX_TOKEN], piece[:MAX_TOKEN], is_prefix(piece))] if piece else []
                continue
            for run in _SCRIPT_RUNS.findall(piece):
                pairs = [run[at : at + 2] for at in range(len(run) - 1)]
                if len(run) > MAX_HAN_WORD and _HAN_RUN.fullmatch(run):
                    found += [(pair, pair, False) for pair in pairs]
                else:
                    found.append((run, " ".join(pairs[:MAX_TOKEN]) or run, not pairs))
    return found


def _joined_words(lines: list[str], following: list[str]) -> list[str]:
    """The words that are divided at the ends of lines, and at the end of the text, put together."""
    lines = [line for line in lines if line.strip()]
    after = next((line for line in following if line.strip()), "")
    tail, head = _LINE_END.search(lines[-1].rstrip() if lines else ""), _LINE_START.match(after.lstrip())
    return [*_undivided([*lines, after]), *([tail[0] + head[0]] if tail and head else [])]


def _undivided(lines: list[str]) -> Iterator[str]:
    parts: list[str] = []  # of the word that is open at the end of the line before
    for line in lines:
        chunks = line.split()
        if not chunks:
            continue
        if parts:
            parts.append(chunks[0].strip(HYPHENS))
            if len(chunks) > 1 or not _is_divided(chunks[0]):
                yield from _neighbours(parts)
                parts = []
        if not parts and _is_divided(chunks[-1]):
            parts = [chunks[-1].rstrip(HYPHENS)]


def _is_divided(chunk: str) -> bool:
    bare = chunk.rstrip(HYPHENS)
    return bare != chunk and any(map(str.isalnum, bare))


def _neighbours(parts: list[str]) -> Iterator[str]:
    """All ways to put neighbouring parts together: some of the hyphens may belong to the word."""
    parts = parts[:6]
    for first in range(len(parts)):
        for last in range(first + 2, len(parts) + 1):
            yield "".join(parts[first:last])
