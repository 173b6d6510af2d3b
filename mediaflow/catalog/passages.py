"""Passages: recognised text and speech, cut into pieces that a search can return."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mediaflow.catalog import fulltext

# Long enough to have a meaning for the text encoder, short enough to tell the second of the speech.
MAX_CHARACTERS = 320
SOURCES = {"ocr": "ocr", "transcribe": "speech"}


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text with its page, or with its time in the recording (seconds)."""

    text: str
    page: int | None = None
    start: float | None = None
    end: float | None = None


def cut(task: str, data: dict[str, Any]) -> list[Passage]:
    """The passages of a finding; none for tasks that find no text."""
    if task == "ocr":
        return [
            passage
            for lines in _tracks(data["lines"])
            for passage in _join(
                (Passage(x["text"], x.get("page"), x.get("time"), x.get("time")) for x in lines), apart="\n"
            )
        ]
    if task == "transcribe":
        return [
            passage
            for said in _tracks(data["segments"])
            for passage in _join((Passage(s["text"].strip(), None, s["start"], s["end"]) for s in said), " ")
        ]
    return []


def _tracks(pieces: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The pieces of each track of a recording; all of them where it has one."""
    tracks: dict[int, list[dict[str, Any]]] = {}
    for piece in pieces:
        tracks.setdefault(piece.get("track") or 0, []).append(piece)
    return [tracks[track] for track in sorted(tracks)]


def _join(pieces: Iterable[Passage], apart: str) -> Iterator[Passage]:
    """Neighbouring pieces of the same page, joined up to MAX_CHARACTERS characters."""
    open_: Passage | None = None
    for piece in pieces:
        if not piece.text:
            continue
        # Text seen at another time in a video is another passage, speech runs on.
        together = open_ and open_.page == piece.page and (apart == " " or open_.start == piece.start)
        if open_ and together and len(open_.text) + len(piece.text) < MAX_CHARACTERS:
            open_ = Passage(open_.text + apart + piece.text, open_.page, open_.start, piece.end)
            continue
        if open_:
            yield open_
        open_ = piece
    if open_:
        yield open_


def replace(db: sqlite3.Connection, asset: int, source: str, passages: list[Passage]) -> bool:
    """Replace the asset's passages of `source` by these; False when they are the same already."""
    old = [(row["text"], row["page"], row["start"], row["end"]) for row in of(db, asset, source)]
    new = [(passage.text, passage.page, passage.start, passage.end) for passage in passages]
    if old == new:
        return False
    db.execute("DELETE FROM passages WHERE asset = ? AND source = ?", (asset, source))
    db.execute("DELETE FROM vectors WHERE asset = ? AND source = ?", (asset, source))
    db.executemany(
        "INSERT INTO passages (asset, source, ordinal, text, page, start, end) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(asset, source, ordinal, *passage) for ordinal, passage in enumerate(new)],
    )
    fulltext.index(db, "passages")
    return True


def of(db: sqlite3.Connection, asset: int, source: str) -> list[sqlite3.Row]:
    """The asset's passages of `source`, in order."""
    return db.execute(
        "SELECT * FROM passages WHERE asset = ? AND source = ? ORDER BY ordinal", (asset, source)
    ).fetchall()
