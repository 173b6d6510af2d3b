"""What a box answers: forms of its requests, and which of its findings may go on to be stored."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import from_json, to_json

from jobs.schema import check_finding
from jobs.task import find_task
from mediaflow.errors import FindingError
from mediaflow.media.rendition import Rendition
from mediaflow.queues.arguments import Form
from workers.gateway.batch import Piece

# Bytes of an answer to one item: so many, and for each picture, each second of sound, each text.
FOR_ITEM, FOR_PICTURE, FOR_SECOND, FOR_TEXT = 65_536, 16_384, 300, 4096
# Bytes of any request that brings results, and how many values its JSON may hold: each takes some 100 bytes.
MOST_BYTES = 32_000_000
MOST_VALUES = 2_000_000
# Bytes of all other requests.
MOST_OF_REQUEST = 65_536
MOST_OF_TEXT = 500

Name = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=5000)]


class Check(Form):
    """Something that the box looked at before it began."""

    name: Name
    ok: bool
    said: Text = ""


class Hello(Form):
    """A box has started. `well`: it can work."""

    hardware: Annotated[dict[Name, Any], Field(max_length=50)]
    checks: Annotated[list[Check], Field(max_length=50)]
    well: bool


class Take(Form):
    """It wants items of a task."""

    task: Name
    most: Annotated[int, Field(ge=1, le=1000)]


class Busy(Form):
    """What it did of a task, as it says; believed by nobody."""

    items: Annotated[float, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]


class Beat(Form):
    """It lives. `ready`: it has its models; `unable`: the tasks that it cannot do, and why."""

    ready: bool = False
    unable: Annotated[dict[Name, Text], Field(max_length=50, default_factory=dict)]
    busy: Annotated[dict[Name, Busy], Field(max_length=50, default_factory=dict)]
    log: Annotated[str, Field(max_length=MOST_OF_REQUEST)] = ""


class Answer(Form):
    """The result of one item: a finding, or why there is none. What a finding is worth is looked at later."""

    id: Annotated[str, Field(max_length=100)]
    data: Any = None
    vectors: Any = None
    seconds: Any = None
    reason: Annotated[str, Field(max_length=20_000)] | None = None


class Results(Form):
    """Some results."""

    results: Annotated[list[Answer], Field(max_length=1000)]


def read_json(body: bytes | bytearray) -> Any:
    """A request's JSON. Raises ValueError where it is none, nested too deep, or of too many values."""
    # Counted before it is read: a byte of "[],[],…" would become a hundred.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise ValueError("too many values")
    return from_json(body, allow_inf_nan=False)


def allowance(item: dict[str, Any], rendition: Rendition | None) -> int:
    """How many bytes the answer to an item may have; `rendition` where it is about one."""
    if rendition is None:
        return min(FOR_ITEM + FOR_TEXT * len(item.get("texts") or ()), MOST_BYTES)
    seconds = rendition.media.get("seconds")
    long = float(seconds) * len(rendition.audio) if isinstance(seconds, int | float) else 0.0
    return min(FOR_ITEM + FOR_PICTURE * len(rendition.pictures) + round(FOR_SECOND * long), MOST_BYTES)


def result_of(piece: Piece, answer: Answer, box: str, *, alone: bool) -> dict[str, Any]:
    """What the stage gets for an answer: the finding, or what it breaks of its form, or why there is none.

    Where there is none the item is for another box, or for this machine where the box is `alone`.
    """
    finding = {"data": answer.data, "vectors": answer.vectors, "seconds": answer.seconds}
    reason = answer.reason
    # A page of very much text may be honest.
    if (size := len(to_json(finding))) > piece.allowance:
        reason = f"What was found takes {size:,} bytes; {piece.allowance:,} are allowed."
    if reason is not None:
        why = f"box {box}: {shown(reason)}"
        return {"home": why} if alone else {"elsewhere": why, "box": box}
    named = {key: piece.item[key] for key in ("asset", "source") if piece.item.get(key) is not None}
    try:
        check_finding(find_task(piece.task), piece.model, named | finding)
        _check_parts(piece, answer.vectors)
    except FindingError as error:
        return {"reason": shown(str(error)), "permanent": False, "box": box}
    return finding | {"box": box}


def _check_parts(piece: Piece, vectors: list[dict[str, Any]]) -> None:
    """Of each text a vector; of a picture none or one of each space. Raises FindingError."""
    found = Counter(vector["space"] for vector in vectors)
    of_text = piece.item.get("texts") is not None
    if any(count > piece.parts for count in found.values()) or (of_text and found.total() != piece.parts):
        raise FindingError(f"There are {found.total()} vectors of {piece.parts} parts.")


def shown(text: str) -> str:
    """A text of a box as it may be shown to a person: short, on one line, printable."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * MOST_OF_TEXT])
    return " ".join(unicodedata.normalize("NFC", plain).split())[:MOST_OF_TEXT]


def plain(value: Any, depth: int = 4) -> Any:
    """What a box says of itself, cut to what may be kept and shown: few, short, printable, not deep."""
    if isinstance(value, bool | int | float) or value is None:
        return value if not isinstance(value, int) or abs(value) < 2**53 else None
    if isinstance(value, str):
        return shown(value)
    if depth and isinstance(value, list):
        return [plain(each, depth - 1) for each in value[:20]]
    if depth and isinstance(value, dict):
        return {shown(str(key)): plain(each, depth - 1) for key, each in list(value.items())[:50]}
    return None
