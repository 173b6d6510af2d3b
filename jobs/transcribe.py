"""Task `transcribe`: what is said, when, and in which language, by Whisper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar

from pydantic import Field

from jobs.agreement import Difference, compare_texts, worst
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
# A window speaks another language than its recording when it is this long (seconds) and this sure.
_OWN_SECONDS = 10.0
_OWN_SURE = 0.9
# Seconds of a recording within which the time of what is said may differ from machine to machine.
PART = 300.0

Votes = dict[str, float]


class SegmentForm(Form):
    start: Seconds
    end: Seconds
    text: Text


class TranscribeData(Form):
    """Language, text and segments, as `mediaflow show --json` prints them."""

    language: Annotated[str, Field(max_length=20)] | None
    text: LongText
    segments: Annotated[list[SegmentForm], Field(max_length=200_000)]


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
        votes: list[Votes] = [defaultdict(float) for _ in batch]
        said: list[list[Word]] = [[] for _ in batch]
        queue = _queue(batch)
        size = at_once(self.settings, BATCH, on_gpu=2)
        while turn := sorted(islice(queue, ROUND * size), key=lambda each: each[1].seconds):
            chunks = [turn[at : at + size] for at in range(0, len(turn), size)]
            heard = [(chunk, self._whisper.hear([window for _, window in chunk])) for chunk in chunks]
            for chunk, group in heard:
                for (index, window), languages in zip(chunk, group.languages, strict=True):
                    for language, probability in languages.items():
                        votes[index][language] += probability * window.seconds
            for chunk, group in heard:
                spoken = [_language(votes[index], group, row) for row, (index, _) in enumerate(chunk)]
                for (index, _), words in zip(chunk, self._whisper.decode(group, spoken), strict=True):
                    said[index].extend(words)
        return [Finding(_data(words, vote)) for words, vote in zip(said, votes, strict=True)]


def _by_part(segments: Sequence[dict[str, Any]]) -> dict[int | None, str]:
    texts: dict[int | None, list[str]] = {}
    for segment in segments:
        texts.setdefault(int(segment["start"] // PART), []).append(segment["text"])
    return {part: " ".join(of_part) for part, of_part in texts.items()}


def _queue(batch: Sequence[Rendition]) -> Iterator[tuple[int, Window]]:
    for index, rendition in enumerate(batch):
        if rendition.audio:
            for window in windows(rendition.path(rendition.audio)):
                yield index, window


def _language(votes: Votes, heard: Heard, row: int) -> str:
    own, sure = max(heard.languages[row].items(), key=lambda each: each[1])
    if sure >= _OWN_SURE and heard.windows[row].seconds >= _OWN_SECONDS:
        return own
    return max(votes, key=votes.__getitem__)


def _data(words: list[Word], votes: Votes) -> dict[str, Any]:
    """The finding of one recording, its words in any order of windows."""
    said = phrases(sorted(words, key=lambda word: word.start))
    return {
        "language": max(votes, key=votes.__getitem__) if said else None,
        "text": " ".join(map(text_of, said)),
        "segments": [
            {"start": round(phrase[0].start, 2), "end": round(phrase[-1].end, 2), "text": text_of(phrase)}
            for phrase in said
        ],
    }
