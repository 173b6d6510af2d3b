"""The request to a search, and its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from mediaflow.errors import UsageError
from mediaflow.media.rendition import Kind

Where = Literal["image", "ocr", "speech", "name"]
EVERYWHERE: tuple[Where, ...] = ("image", "ocr", "speech", "name")


# Characters of a query that are used: a person may paste a book, and a tokenizer reads all of it.
MAX_CHARACTERS = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Request:
    """A query by words, by an image file, or by a known asset, with its filters.

    `text` may be any string from a shell or a network; it is converted to valid UTF-8 text here
    (`readable_text`). `since` (inclusive) and `until` (exclusive) are Unix seconds, compared with the date of
    the picture or else that of the file. Raises UsageError for a library whose name is not valid text.
    """

    text: str = ""
    image: str | None = None
    like: str | None = None
    kind: Kind | None = None
    where: Where | None = None
    safe: bool = False
    since: float | None = None
    until: float | None = None
    library: str = "default"
    limit: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", readable_text(self.text))
        if not _is_text(self.library):
            raise UsageError(f"The library {self.library!a} does not have a name in UTF-8.")

    @property
    def question(self) -> str:
        """The part of the text that is used."""
        return self.text[:MAX_CHARACTERS].strip()

    def places(self) -> tuple[Where, ...]:
        """The places to search."""
        return (self.where,) if self.where else EVERYWHERE


@dataclass(frozen=True, slots=True)
class Match:
    """A reason for a result. Times are seconds, `score` is in [0, 1]."""

    where: Where
    score: float
    text: str | None = None
    start: float | None = None
    end: float | None = None
    page: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The JSON of the command line; keys without a value are left out."""
        answer: dict[str, Any] = {"in": self.where, "score": round(self.score, 4)}
        for key in ("text", "start", "end", "page"):
            value = getattr(self, key)
            if value is not None:
                answer[key] = value
        return answer


def readable_text(text: str) -> str:
    """Any string as text that is valid for UTF-8, SQLite and a tokenizer.

    Python represents a byte that is not UTF-8 as a lone surrogate (PEP 383); it is read as Latin-1, as old
    systems wrote. Control characters become spaces.
    """
    if not _is_text(text):
        text = "".join(map(_letter, text))
    return _CONTROL.sub(" ", text)


def _letter(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:
        return chr(code - 0xDC00)
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code <= 0xDFFF else letter


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(slots=True)
class Result:
    """One asset, at one of its locations, with its best matches first."""

    path: str
    kind: str
    score: float
    asset: str
    matches: list[Match] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The JSON of the command line."""
        return {
            "path": self.path,
            "kind": self.kind,
            "score": round(self.score, 4),
            "asset": self.asset,
            "matches": [match.as_json() for match in self.matches],
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The results, best first, and warnings for a person on spaces that could not be searched."""

    results: list[Result]
    warnings: list[str]
