"""Task `transcribe`: what is said, when, and in which language, by Whisper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from jobs.agreement import Difference, compare_texts, worst
from jobs.languages import (
    Part,
    Votes,
    between_pauses,
    is_foreign,
    is_plain,
    likeliest,
    runs,
    spoken,
    total,
    uncovered,
)  # fmt: skip
from jobs.schema import LongText, Seconds, Text
from jobs.task import Finding, Task, register
from jobs.whisper import Heard, Whisper
from mediaflow.media.rendition import Rendition
from mediaflow.media.subtitles import Word, phrases, text_of
from mediaflow.media.voice import Window, windows
from mediaflow.models.device import at_once
from mediaflow.models.store import model_folder
from mediaflow.queues.arguments import Form

BATCH = 8  # windows of about one length that go through the model at once
ROUND = 4  # batches that are heard, and vote on the language of their recordings, before they are decoded
# Seconds of a recording within which the time of what is said may differ from machine to machine.
PART = 300.0


class SegmentForm(Form):
    start: Seconds
    end: Seconds
    text: Text
    track: Annotated[int, Field(ge=1, le=1000)] | None = None


class TranscribeData(Form):
    """Language, text and segments, as `mediaflow show --json` prints them."""

    language: Annotated[str, Field(max_length=20)] | None
    text: LongText
    segments: Annotated[list[SegmentForm], Field(max_length=200_000)]


@dataclass(slots=True)
class Speech:
    """What is heard in one audio track: the votes on its language, and its words in any order."""

    asset: int  # place in the batch
    file: Path
    track: int | None
    votes: Votes = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)

    def vote(self, votes: Votes) -> None:
        for language, count in votes.items():
            self.votes[language] = self.votes.get(language, 0.0) + count


@dataclass(frozen=True, slots=True)
class Told:
    """A window of a track and the parts in which its language was told; it was heard in a batch."""

    speech: Speech
    window: Window
    parts: list[Part]


@register
class Transcribe(Task):
    """Whisper by CTranslate2 (Radford et al. 2022, MIT); windows of several recordings share a batch."""

    name = "transcribe"
    needs = "audio"
    together: ClassVar[int] = 32
    schema = TranscribeData

    @classmethod
    def agrees(cls, theirs: Finding, ours: Finding) -> Difference | None:
        """Whether the same is said, and in which minutes."""
        whole = compare_texts({None: theirs.data["text"]}, {None: ours.data["text"]})
        parts = compare_texts(_by_part(theirs.data["segments"]), _by_part(ours.data["segments"]))
        return worst([difference for difference in (whole, parts) if difference])

    def load(self) -> None:
        """Load the model with this task's number of threads, and the voice detector."""
        from faster_whisper.vad import get_vad_model

        task = self.settings.tasks[self.name]
        self._whisper = Whisper(model_folder(task.model), self.settings, task.threads)
        get_vad_model()

    def analyse(self, batch: Sequence[Rendition]) -> list[Finding]:
        """One finding for each rendition; `language` is None where nothing is said."""
        speeches = [
            Speech(index, rendition.path(track.file), track.track)
            for index, rendition in enumerate(batch)
            for track in rendition.audio
        ]
        queue = ((speech, window) for speech in speeches for window in windows(speech.file))
        size = at_once(self.settings, BATCH, on_gpu=2)
        while turn := sorted(islice(queue, ROUND * size), key=lambda each: each[1].seconds):
            heard = [self._hear(turn[at : at + size]) for at in range(0, len(turn), size)]
            again = [part for told, group in heard for part in self._decode(told, group)]
            again.sort(key=lambda each: each[1].seconds)
            for at in range(0, len(again), size):
                self._decode_again(again[at : at + size])
        return [
            Finding(_data([speech for speech in speeches if speech.asset == index]))
            for index in range(len(batch))
        ]

    def _hear(self, chunk: Sequence[tuple[Speech, Window]]) -> tuple[list[Told], Heard]:
        """Encode windows, and tell the language of each part of them; they vote for their tracks."""
        group = self._whisper.hear([window for _, window in chunk])
        told = []
        for row, (speech, window) in enumerate(chunk):
            whole = Part(0.0, window.seconds, group.languages[row])
            parts = self._parts(group, row, whole)
            foreign = any(is_foreign(part, whole.likeliest) for part in parts)
            speech.vote(total(parts if foreign else [whole]))
            told.append(Told(speech, window, parts))
        return told, group

    def _parts(self, group: Heard, row: int, whole: Part) -> list[Part]:
        """What lies between the pauses of a window, and the language of each.

        Where one seems to be in another language than the rest, each is heard by itself: the encoder
        mixes a part with its neighbours, so that also those that seem to agree may not.
        """
        window = group.windows[row]
        spans = between_pauses(window.spans)
        if len(spans) < 2:
            return [whole]
        found = self._whisper.languages_in(group, row, spans)
        parts = [Part(*span, languages) for span, languages in zip(spans, found, strict=True)]
        main = likeliest(total(parts))
        if all(part.likeliest == main for part in parts):
            return parts
        alone = self._whisper.tell([window.part(*span) for span in spans])
        return [Part(*span, languages) for span, languages in zip(spans, alone, strict=True)]

    def _decode(self, told: Sequence[Told], group: Heard) -> Iterator[tuple[Speech, Window, str]]:
        """Add what is said to the tracks; yields the windows, with their language, that must be heard again.

        These are the parts of windows in which the language changes, and speech that the words leave out.
        """
        plans = [runs(each.parts, self._spoken(each)) for each in told]
        found = self._whisper.decode(group, [plan[0][1] for plan in plans])
        for each, plan, words in zip(told, plans, found, strict=True):
            if len(plan) > 1:
                for span, language in plan:
                    yield each.speech, each.window.part(*span), language
                continue
            each.speech.words.extend(words)
            if words:  # a window without any words holds no speech
                here = [Word(w.start - each.window.start, w.end - each.window.start, w.text) for w in words]
                for span in uncovered(each.window.spans, here):
                    window = each.window.part(*span)
                    own = likeliest(self._whisper.tell([window])[0])
                    if sensible := self._whisper.likelier(window, [plan[0][1], own]):
                        yield each.speech, window, sensible

    def _spoken(self, told: Told) -> list[str]:
        """The language of each part of a window; one that is not the track's must make more sense."""
        main = likeliest(told.speech.votes)
        languages = spoken(told.parts, main)
        for at, (part, language) in enumerate(zip(told.parts, languages, strict=True)):
            if language != main and not is_plain(part):
                window = told.window.part(part.start, part.end) if len(told.parts) > 1 else told.window
                languages[at] = self._whisper.likelier(window, [main, language]) or main
        return languages

    def _decode_again(self, chunk: Sequence[tuple[Speech, Window, str]]) -> None:
        group = self._whisper.hear([window for _, window, _ in chunk])
        found = self._whisper.decode(group, [language for _, _, language in chunk])
        for (speech, _, _), words in zip(chunk, found, strict=True):
            speech.words.extend(words)


def _by_part(segments: Sequence[dict[str, Any]]) -> dict[int | None, str]:
    texts: dict[int | None, list[str]] = {}
    for segment in segments:
        part = int(segment["start"] // PART) + 1_000_000 * (segment.get("track") or 0)
        texts.setdefault(part, []).append(segment["text"])
    return {part: " ".join(of_part) for part, of_part in texts.items()}


def _data(speeches: Sequence[Speech]) -> dict[str, Any]:
    """The finding of one recording: the text track after track, the segments by time."""
    texts, segments = [], []
    votes: Votes = {}
    for speech in speeches:
        said = phrases(sorted(speech.words, key=lambda word: word.start))
        if not said:
            continue
        texts.append(" ".join(map(text_of, said)))
        segments += [_segment(phrase, speech.track) for phrase in said]
        for language, count in speech.votes.items():
            votes[language] = votes.get(language, 0.0) + count
    return {
        "language": likeliest(votes) if votes else None,
        "text": "\n".join(texts),
        "segments": sorted(segments, key=lambda segment: segment["start"]),
    }


def _segment(phrase: Sequence[Word], track: int | None) -> dict[str, Any]:
    times = {"start": round(phrase[0].start, 2), "end": round(phrase[-1].end, 2)}
    return times | {"text": text_of(phrase)} | ({"track": track} if track else {})
