"""What is asked of a search, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mediaflow.media.rendition import Kind

Where = Literal["image", "ocr", "speech", "name"]
EVERYWHERE: tuple[Where, ...] = ("image", "ocr", "speech", "name")


@dataclass(frozen=True, slots=True)
class Request:
    """A question: by words, by an image file, or by an asset that is known; and what to leave out.

    `since` and `until` are in Unix seconds and mean when it was taken, or else when the file was last
    written; `until` itself is not included.
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
