"""Agreement: whether two findings of one asset, made on different machines, say the same.

Models answer a little differently on a GPU and on a CPU, in half precision, and in batches. How much was
measured: docs/fleet.md, "What a box may see, and what it is believed".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.task import Vector

# Cosines of the vectors of one picture or text by one model: below the first they differ, below the second
# they are of different things.
SAME_VECTOR, OTHER_VECTOR = 0.98, 0.9
# Text by its pairs of letters: below the first share of them in common it differs, below the second, and by
# more than so many pairs, it is another text. Few pairs more or less are a word at the edge of being read.
SAME_TEXT, OTHER_TEXT = 0.9, 0.5
FEW_PAIRS, MANY_PAIRS = 6, 24
# Numbers that differ by no more than this, or this share of the larger, are the same.
SAME_NUMBER, SAME_SHARE = 0.02, 0.02


@dataclass(frozen=True, slots=True)
class Difference:
    """How two findings differ, for a person. `gross`: no machine that is honest makes such a difference."""

    said: str
    gross: bool


def compare_data(theirs: Any, ours: Any, place: str = "it") -> Difference | None:
    """The first difference between two values of JSON; numbers may differ a little, nothing else may."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() != ours.keys():
            return Difference(f"{place} has other parts", gross=True)
        pairs = [(f"{place}.{key}", theirs[key], ours[key]) for key in ours]
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return Difference(f"{place} has {len(theirs)} entries, not {len(ours)}", gross=True)
        pairs = [(f"{place}[{at}]", *both) for at, both in enumerate(zip(theirs, ours, strict=True))]
    elif _is_number(theirs) and _is_number(ours):
        same = math.isclose(theirs, ours, rel_tol=SAME_SHARE, abs_tol=SAME_NUMBER)
        return None if same else Difference(f"{place} is {theirs:g}, not {ours:g}", gross=False)
    else:
        same = type(theirs) is type(ours) and theirs == ours
        return None if same else Difference(f"{place} is another", gross=True)
    found = [difference for where, a, b in pairs if (difference := compare_data(a, b, where))]
    return worst(found)


def compare_vectors(theirs: Sequence[Vector], ours: Sequence[Vector]) -> Difference | None:
    """The worst difference between the vectors of two findings, in the order of their spaces."""
    if len(theirs) != len(ours):
        return Difference(f"it has {len(theirs)} vectors, not {len(ours)}", gross=True)
    found = []
    for one, other in zip(theirs, ours, strict=True):
        if (one.space, one.page) != (other.space, other.page) or not same_time(one.time, other.time):
            return Difference("its vectors are of other pictures", gross=True)
        cosine = float(one.values @ other.values)
        if not cosine >= SAME_VECTOR:
            found.append(Difference(f"a vector has cosine {cosine:.3f} to ours", not cosine >= OTHER_VECTOR))
    return worst(found)


def compare_texts(theirs: Mapping[int | None, str], ours: Mapping[int | None, str]) -> Difference | None:
    """The difference between the texts of two findings by page, whatever the order of words in a page."""
    share, apart = common_pairs(theirs, ours)
    if apart <= FEW_PAIRS or share >= SAME_TEXT:
        return None
    said = f"its text has {share:.0%} of its pairs of letters in common with ours"
    return Difference(said, gross=share < OTHER_TEXT and apart > MANY_PAIRS)


def common_pairs(theirs: Mapping[int | None, str], ours: Mapping[int | None, str]) -> tuple[float, int]:
    """What share of their pairs of letters two texts have in common, and how many they have not."""
    one, other = _pairs(theirs), _pairs(ours)
    total, common = one.total() + other.total(), (one & other).total()
    return 2 * common / total if total else 1.0, total - 2 * common


def _pairs(texts: Mapping[int | None, str]) -> Counter[tuple[int | None, str]]:
    """Neighbouring letters and digits of each word, its edges too; how it is written does not matter."""
    pairs: Counter[tuple[int | None, str]] = Counter()
    for page, text in texts.items():
        for word in re.findall(r"\w+", text.casefold()):
            pairs.update((page, f" {word} "[at : at + 2]) for at in range(len(word) + 1))
    return pairs


def worst(differences: Sequence[Difference]) -> Difference | None:
    """The gravest of some differences, the first of equals."""
    return max(differences, key=lambda difference: difference.gross, default=None)


def same_time(one: float | None, other: float | None) -> bool:
    """Whether two places in a recording (seconds) are the same one."""
    return one == other if one is None or other is None else abs(one - other) < 0.01


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
