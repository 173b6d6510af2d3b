"""A question to the search, and its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from mediaflow.errors import UsageError
from mediaflow.media.rendition import Kind

Where = Literal["image", "ocr", "speech", "name"]
EVERYWHERE: tuple[Where, ...] = ("image", "ocr", "speech", "name")


# How much of a text is looked up: whole books get pasted, and a tokenizer reads every letter.
MAX_CHARACTERS = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Request:
    """A question: by words, by an image file, or by a known asset; and the filters.

    `text` may hold anything that a shell or a network hands over; it is kept as text that UTF-8 can hold,
    for everything after this (`readable_text`). `since` (inclusive) and `until` (exclusive) are in Unix
    seconds: when it was taken, or else when the file was last written. Raises UsageError for a library
    whose name is no text.
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
        """The part of the text that is looked up."""
        return self.text[:MAX_CHARACTERS].strip()

    def places(self) -> tuple[Where, ...]:
        """Where to look."""
        return (self.where,) if self.where else EVERYWHERE


@dataclass(frozen=True, slots=True)
class Match:
    """Why a result is one. Times are seconds, `score` is in [0, 1]."""

    where: Where
    score: float
    text: str | None = None
    start: float | None = None
    end: float | None = None
    page: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The form of the command line's contract; what is not known is left out."""
        answer: dict[str, Any] = {"in": self.where, "score": round(self.score, 4)}
        for key in ("text", "start", "end", "page"):
            value = getattr(self, key)
            if value is not None:
                answer[key] = value
        return answer


def readable_text(text: str) -> str:
    """Any string as text that UTF-8, SQLite and a tokenizer can hold.

    A byte that was no UTF-8 comes from the system as a lone surrogate (PEP 383); it is read as Latin-1,
    which is right for what old systems wrote. Control characters become spaces.
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
        """The form of the command line's contract."""
        return {
            "path": self.path,
            "kind": self.kind,
            "score": round(self.score, 4),
            "asset": self.asset,
            "matches": [match.as_json() for match in self.matches],
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The results, best first, and what could not be looked at, in words for a person."""

    results: list[Result]
    warnings: list[str]
