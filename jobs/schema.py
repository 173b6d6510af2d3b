"""What a finding may be: types, sizes and numbers. A task adds the form of its data.

Findings come from other processes, and may come from other machines: they are checked where they
are stored, and what breaks these rules is refused with its reason; nothing of it is kept.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from mediaflow.catalog.database import storable
from mediaflow.errors import FindingError
from mediaflow.queues.arguments import Form, Hash, what_is_wrong

if TYPE_CHECKING:
    from jobs.task import Task

# Bytes of a finding's data as JSON, characters of its vectors, and how deep its data may be nested.
LONGEST_DATA = 16_000_000
LONGEST_VECTORS = 24_000_000
# A result that is larger, in characters, is refused before it is enqueued: the job would be.
LONGEST_RESULT = LONGEST_DATA + LONGEST_VECTORS
LONGEST_REASON = 2000
DEEPEST = 20
MOST_VECTORS = 50_000
LONGEST_MEDIA = 100_000
# float16 keeps the length of a unit vector to a thousandth.
UNIT_TOLERANCE = 0.02

Score = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e8)]
Page = Annotated[int, Field(ge=1, le=1_000_000)]
Pixel = Annotated[float, Field(ge=-1e7, le=1e7)]
Text = Annotated[str, Field(max_length=20_000)]
LongText = Annotated[str, Field(max_length=5_000_000)]


class Placed(Form):
    """Something that was found in one picture: its page, or its time in seconds."""

    page: Page | None = None
    time: Seconds | None = None


class VectorForm(Placed):
    """A vector on its way: `value` is base64 of little-endian float16."""

    space: Annotated[str, Field(min_length=1, max_length=200)]
    ordinal: Annotated[int, Field(ge=0, le=10_000_000)]
    value: Annotated[str, Field(min_length=4, max_length=50_000)]


class FindingForm(Form):
    """What is common to all findings."""

    asset: Hash
    source: Literal["ocr", "speech"] | None = None
    data: dict[str, Any]
    seconds: Seconds
    vectors: Annotated[list[VectorForm], Field(max_length=MOST_VECTORS)]


class Prepared(Form):
    """What the child says of an original that it has prepared."""

    asset: Hash
    kind: Literal["image", "video", "audio"]
    media: dict[str, Any]
    bytes: Annotated[int, Field(ge=0, lt=2**63)]
    pictures: Annotated[int, Field(ge=0, le=1_000_000)]
    audio: bool
    rendition_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    seconds: Seconds = 0.0


def check_finding(task: type[Task], model: str, result: dict[str, Any]) -> list[np.ndarray]:
    """Check what `task` found with `model`; the values (float32) of its vectors, in order.

    Raises FindingError with the first rule that it breaks.
    """
    try:
        form = FindingForm.model_validate(
            {key: value for key, value in result.items() if key in _OF_FINDINGS}
        )
        _check_plain(form.data, LONGEST_DATA)
        if task.schema is not None:
            task.schema.model_validate(form.data)
    except ValidationError as error:
        raise FindingError(f"What {task.name} found breaks the rules: {what_is_wrong(error)}.") from None
    if sum(len(vector.value) for vector in form.vectors) > LONGEST_VECTORS:
        raise FindingError(f"What {task.name} found has vectors of more than {LONGEST_VECTORS:,} characters.")
    spaces = task.may_write(model, form.source)
    _check_places(task, form, spaces)
    return [_values(vector, spaces[vector.space]) for vector in form.vectors]


# Refusals have keys of their own; a result that is a finding may carry them empty.
_OF_FINDINGS = {"asset", "source", "data", "seconds", "vectors"}


def bounded(result: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A child's result as a job can carry it, and its length in characters."""
    result = _with_bounded_reason(result)
    size = len(json.dumps(result))
    if size > LONGEST_RESULT:
        reason = f"what was found takes {size:,} characters; {LONGEST_RESULT:,} are allowed"
        return {"reason": reason, "permanent": True}, len(reason)
    return result, size


def bounded_prepared(result: dict[str, Any]) -> dict[str, Any]:
    """What the child says of an original, or why that cannot be kept."""
    if "reason" in result:
        return _with_bounded_reason(result)
    try:
        Prepared.model_validate({key: value for key, value in result.items() if key in Prepared.model_fields})
        _check_plain(result["media"], LONGEST_MEDIA)
    except (ValidationError, FindingError) as error:
        said = what_is_wrong(error) if isinstance(error, ValidationError) else str(error)
        return {"reason": f"what was learnt of it cannot be stored ({said})", "permanent": True}
    return result


def _with_bounded_reason(result: dict[str, Any]) -> dict[str, Any]:
    if "reason" not in result:
        return result
    return result | {"reason": storable(str(result["reason"]))[:LONGEST_REASON]}


def _check_places(task: type[Task], form: FindingForm, spaces: Collection[str]) -> None:
    seen = set()
    for vector in form.vectors:
        if vector.space not in spaces:
            raise FindingError(f"{task.name} may not write vectors into the space {vector.space!r}.")
        seen.add((vector.space, vector.ordinal))
    if len(seen) != len(form.vectors):
        raise FindingError(f"What {task.name} found has two vectors of one number in a space.")


def _values(vector: VectorForm, dimension: int | None) -> np.ndarray:
    """A vector's values (dimension,) float32. Raises FindingError where they are no unit vector."""
    try:
        raw = base64.b64decode(vector.value, validate=True)
        values = np.frombuffer(raw, dtype="<f2").astype(np.float32)
    except (binascii.Error, ValueError):
        raise FindingError(f"A vector for space {vector.space} is no base64 of float16 values.") from None
    if dimension is not None and len(values) != dimension:
        raise FindingError(f"A vector for space {vector.space} has {len(values)} values, not {dimension}.")
    if not np.isfinite(values).all():
        raise FindingError(f"A vector for space {vector.space} has values that are not numbers.")
    if abs(float(np.linalg.norm(values)) - 1) > UNIT_TOLERANCE:
        raise FindingError(f"A vector for space {vector.space} is not of unit length.")
    return values


def _check_plain(data: dict[str, Any], longest: int) -> None:
    """JSON that SQLite and its full-text search can hold. Raises FindingError."""
    _check_depth(data, DEEPEST)
    try:
        size = len(json.dumps(data, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError:
        raise FindingError("A finding's text has halves of letters that UTF-8 cannot hold.") from None
    except (TypeError, ValueError) as error:
        raise FindingError(f"A finding's data is no JSON: {error}.") from None
    if size > longest:
        raise FindingError(f"A finding's data takes {size:,} bytes; {longest:,} are allowed.")


def _check_depth(value: Any, left: int) -> None:
    if not left:
        raise FindingError(f"A finding's data is nested deeper than {DEEPEST}.")
    if isinstance(value, str):
        if "\0" in value:
            raise FindingError("A finding's text has a NUL in it.")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_depth(key, left - 1)
            _check_depth(inner, left - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_depth(inner, left - 1)
