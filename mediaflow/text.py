"""Text normalization, the same for the index and for queries, so that a word is found in any spelling.

The full-text tables hold tokens made here, joined with spaces; SQLite's tokenizer only splits at the spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Longer words are cut, in the index and in queries alike.
MAX_TOKEN = 64
# Characters of a line without spaces that are joined with the next passage.
MAX_BRIDGE = 20
# ASCII characters besides letters and digits that tokens contain; the FTS5 tables name them as `tokenchars`.
SYMBOLS = "$+<=>|~"

# The scripts that are written without spaces, as in a class of a regular expression.
HAN = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u31c0-\u31ef\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
HIRAGANA = "\u3041-\u309f\U0001b001-\U0001b11f"
KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
# Hangul, Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Bopomofo, Yi and others that are
# written without spaces, or (Korean) with endings and compounds that hide a word in a longer one.
OTHERS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u3031-\u3035\u3100-\u318f\u31a0-\u31bf\ua000-\ua4cf\ua960-\ua9ff\uaa60-\uaa7f\uac00-\ud7ff\uffa0-\uffdc"
    "\U00016fe0-\U00018d8f\U0001aff0-\U0001b000\U0001b120-\U0001b2ff"
)
_UNSPACED = f"{HAN}{HIRAGANA}{KATAKANA}{OTHERS}"
_UNSPACED_RUN = re.compile(f"([{_UNSPACED}]+)")
# A line end between two such characters divides nothing.
_WRAPPED = re.compile(f"(?<=[{_UNSPACED}])[ \\t\u3000]*[\n\r\v\f\x85\u2028\u2029]\\s*(?=[{_UNSPACED}])")
_LINE_END, _LINE_START = (
    re.compile(f"[{_UNSPACED}]{{1,{MAX_BRIDGE}}}$"),
    re.compile(f"[{_UNSPACED}]{{1,{MAX_BRIDGE}}}"),
)
# Hyphens that divide a word at the end of a line, and invisible characters that may follow them.
HYPHENS = "-\u2010\u2011\u2012\u2013\u2212\xac\xad\u2e17=\u200b\u200c\u200d\ufeff"

# Raised signs after a word that are not part of it: the number of a footnote, a trade mark.
_RAISED = re.compile("[\xaa\xb2\xb3\xb9\xba\u2070-\u2079\u2120\u2122]")

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
# Modifier letters that are used as an apostrophe, and the slash within ½.
_APART = re.compile("[\u02b9-\u02c0\u2044]")


class _Characters(dict[int, str]):
    """The replacement of each character of decomposed, casefolded text; computed at its first use."""

    def __missing__(self, code: int) -> str:
        self[code] = value = _character(chr(code))
        return value


_TABLE = _Characters()


def fold(text: str) -> str:
    """Text in the form in which it is compared: words between spaces, without case, accents and variants.

    It is idempotent.
    """
    return _compose(_decompose(text))


def split(folded: str) -> Iterator[str]:
    """The tokens of folded text, in order.

    Scripts without spaces give overlapping pairs of characters and, at the end of a run, its last one, so
    that any part of a run is a phrase of tokens.
    """
    for chunk in folded.split():
        if chunk.isascii():
            yield chunk[:MAX_TOKEN]
            continue
        for piece in pieces(chunk):
            if is_unspaced(piece):
                yield from (piece[at : at + 2] for at in range(len(piece)))
            else:
                yield piece[:MAX_TOKEN]


def pieces(chunk: str) -> list[str]:
    """A folded text without spaces, cut where it changes to or from a script that is written without them."""
    return [piece for piece in _UNSPACED_RUN.split(chunk) if piece]


def document(text: str, following: str = "") -> str:
    """The index entry of a text: its tokens, and those of other spellings of its words.

    `following` is the next text: a word may be divided between the two.
    """
    joined = _joined_words(text.splitlines(), following.splitlines())
    bare = [_RAISED.sub(" ", chunk) for chunk in text.split() if _RAISED.search(chunk)]
    parts = list(map(_decompose, [_WRAPPED.sub("", text), *joined, *bare]))
    spelled = [_spell(chunk) for part in parts for chunk in part.split() if _SPELLED.search(chunk)]
    return " ".join(token for part in [*parts, *spelled] for token in split(_compose(part)))


def spellings(text: str) -> tuple[str, ...]:
    """The folded text, and where it has umlauts and the like also with these spelled out: muller, mueller."""
    decomposed = _decompose(text)
    return tuple(dict.fromkeys((_compose(decomposed), _compose(_spell(decomposed)))))


def is_unspaced(text: str) -> bool:
    """Whether a folded text is a run of a script that is written without spaces."""
    return _UNSPACED_RUN.fullmatch(text) is not None


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
    """Whether marks of this class are usually left out: accents, and vowel points of Hebrew and Arabic.

    Vowel signs, tone marks and viramas of the scripts of India and beyond, and the voicing of kana make
    another word.
    """
    return combining in (1, 7) or 10 <= combining <= 36 or combining >= 200


def _without_stroke(letter: str) -> str:
    if letter.isascii():
        return letter
    named = _STROKE.match(unicodedata.name(letter, ""))
    return named[1].lower() if named else letter


def _joined_words(lines: list[str], following: list[str]) -> list[str]:
    """The words that are divided at the ends of lines and of the text, joined."""
    lines = [line for line in lines if line.strip()]
    after = next((line for line in following if line.strip()), "")
    tail, head = _LINE_END.search(lines[-1].rstrip() if lines else ""), _LINE_START.match(after.lstrip())
    return [*_undivided([*lines, after]), *([tail[0] + head[0]] if tail and head else [])]


def _undivided(lines: list[str]) -> Iterator[str]:
    parts: list[str] = []  # of the word that the previous line leaves unfinished
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
    """All ways to join neighbouring parts: some of the hyphens may belong to the word."""
    parts = parts[:6]
    for first in range(len(parts)):
        for last in range(first + 2, len(parts) + 1):
            yield "".join(parts[first:last])
