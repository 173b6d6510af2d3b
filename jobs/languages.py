"""Languages: which of them is spoken in which part of a window of speech, and what no word covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mediaflow.media.subtitles import Word

Span = tuple[float, float]
Votes = dict[str, float]

# Seconds of silence at which the language may change, and of speech in which it can be told.
PAUSE = 0.5
MIN_SECONDS = 1.5
# A part may be in another language than its recording when that is more probable than all others together.
MIN_SURE = 0.5
# So long and so sure it is, and need not be compared (see `Whisper.likelier`).
PLAIN_SECONDS, PLAIN_SURE = 10.0, 0.9
# Seconds of speech without words that are heard again, and of speech that a long word covers at each end.
MIN_UNCOVERED = 2.0
_WORD = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """Speech between two pauses, in seconds of its window, and how probable each language is in it."""

    start: float
    end: float
    languages: Votes

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def likeliest(self) -> str:
        return likeliest(self.languages)


def likeliest(votes: Votes) -> str:
    """The language with most votes."""
    return max(votes, key=votes.__getitem__)


def total(parts: Iterable[Part]) -> Votes:
    """The votes of parts, each by its length."""
    votes: Votes = {}
    for part in parts:
        for language, probability in part.languages.items():
            votes[language] = votes.get(language, 0.0) + probability * part.seconds
    return votes


def between_pauses(spans: Sequence[Span]) -> list[Span]:
    """Utterances joined where no pause is between them, and the short ones to their nearest neighbour."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < PAUSE:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    while len(joined) > 1:
        short = min(range(len(joined)), key=lambda at: joined[at][1] - joined[at][0])
        if joined[short][1] - joined[short][0] >= MIN_SECONDS:
            break
        gaps = {
            at: joined[at + 1][0] - joined[at][1] for at in (short - 1, short) if 0 <= at < len(joined) - 1
        }
        at = min(gaps, key=gaps.__getitem__)
        joined[at : at + 2] = [(joined[at][0], joined[at + 1][1])]
    return joined


def is_foreign(part: Part, main: str) -> bool:
    """Whether a part seems to be in another language than `main`."""
    sure = part.languages[part.likeliest]
    return part.likeliest != main and part.seconds >= MIN_SECONDS and sure >= MIN_SURE


def is_plain(part: Part) -> bool:
    """Whether the language of a part is beyond doubt."""
    return part.seconds >= PLAIN_SECONDS and part.languages[part.likeliest] >= PLAIN_SURE


def spoken(parts: Sequence[Part], main: str) -> list[str]:
    """The language of each part: the recording's, unless it seems to be another.

    Where there is another, a part that seems to be neither is in the likelier one of them.
    """
    foreign = {part.likeliest for part in parts if is_foreign(part, main)}
    if not foreign:
        return [main] * len(parts)
    candidates = [main, *sorted(foreign)]
    return [max(candidates, key=lambda each: part.languages.get(each, 0.0)) for part in parts]


def runs(parts: Sequence[Part], languages: Sequence[str]) -> list[tuple[Span, str]]:
    """Neighbouring parts of one language put together."""
    found: list[tuple[Span, str]] = []
    for part, language in zip(parts, languages, strict=True):
        if found and found[-1][1] == language:
            found[-1] = ((found[-1][0][0], part.end), language)
        else:
            found.append(((part.start, part.end), language))
    return found


def uncovered(spans: Sequence[Span], words: Sequence[Word]) -> list[Span]:
    """Stretches of neighbouring utterances, MIN_UNCOVERED seconds or more, of which the words say little.

    `words` have times on the same clock as `spans`. A recogniser that leaves a sentence out stretches a word
    over it, so only the ends of a long word count.
    """
    covered = [(word.start, min(word.end, word.start + _WORD)) for word in words]
    covered += [(max(word.start, word.end - _WORD), word.end) for word in words]
    found: list[Span] = []
    open_ = False
    for start, end in spans:
        if _overlap(start, end, covered) > (end - start) / 2:
            open_ = False
        elif open_:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
            open_ = True
    return [(start, end) for start, end in found if end - start >= MIN_UNCOVERED]


def _overlap(start: float, end: float, covered: Sequence[Span]) -> float:
    """Seconds from `start` to `end` that lie in one of the spans."""
    total, at = 0.0, start
    for first, last in sorted(covered):
        if last > at and first < end:
            total += min(last, end) - max(first, at)
            at = min(last, end)
    return total
