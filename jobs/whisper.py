"""Whisper, decoding windows of any recordings together."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.languages import Votes
from mediaflow.media.subtitles import Word, with_marks
from mediaflow.media.voice import LONGEST, Window
from mediaflow.models.device import speech_device
from mediaflow.settings import Settings

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

# Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 4.5.
_UNSURE = -1.0  # mean log probability of a token below which another temperature is tried
_REPEATS = 2.4  # compression ratio above which the text goes round in circles
_NO_SPEECH = 0.6
_TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
_BEAM: dict[str, Any] = {"beam_size": 5}
_SHORTEST = 10.0  # seconds that the encoder hears at least …
_FLASH, _SHORTEST_OF_FLASH = (
    2.0,
    15.0,
)  # … and where nothing is longer than so many: a lone word is easily doubled
_SHORTEST_TOLD = 5.0  # seconds heard at least to tell a language
_FRAMES = 50  # vectors of the encoder a second
_MARGIN = 3.0  # seconds of silence after what is said, by which the decoder knows the end


@dataclass(slots=True)
class Heard:
    """Windows that went through the encoder together, and how probable each language is in each."""

    windows: list[Window]
    languages: list[Votes]
    encoded: Any


class Whisper:
    """A Whisper model in CTranslate2 form, warm."""

    def __init__(self, folder: Path, settings: Settings, threads: int) -> None:
        from faster_whisper import WhisperModel

        device, compute = speech_device(settings)
        self._on_gpu = device != "cpu"
        self.model: WhisperModel = WhisperModel(
            str(folder), device=device, compute_type=compute, cpu_threads=threads, local_files_only=True
        )
        self._tokenizers: dict[str, Tokenizer] = {}

    def hear(self, windows: Sequence[Window], seconds: float | None = None) -> Heard:
        """Encode windows together and tell their languages.

        The encoder hears `seconds`, by default no more than the longest window needs: attention over
        the 30 seconds of the training costs a short clip many times what it is worth.
        """
        from faster_whisper.audio import pad_or_trim

        if seconds is None:
            longest = max(window.seconds for window in windows)
            least = _SHORTEST if longest > _FLASH else _SHORTEST_OF_FLASH
            seconds = min(LONGEST, max(least, longest + _MARGIN))
        frames = math.ceil(seconds) * self.model.frames_per_second
        features = [self.model.feature_extractor(window.samples)[..., :-1] for window in windows]
        encoded = self.model.encode(np.stack([pad_or_trim(feature, frames) for feature in features]))
        if not self.model.model.is_multilingual:
            return Heard(list(windows), [{"en": 1.0} for _ in windows], encoded)
        return Heard(list(windows), self._languages(encoded), encoded)

    def languages_in(self, heard: Heard, row: int, spans: Sequence[tuple[float, float]]) -> list[Votes]:
        """How probable each language is in parts of a window, each (start, end) in its seconds.

        They are told by what the encoder made of the whole window, which costs next to nothing. That is
        right for what agrees with the rest; what does not should be heard by itself (see `tell`).
        """
        import ctranslate2  # type: ignore[import-untyped]

        if not self.model.model.is_multilingual:
            return [{"en": 1.0} for _ in spans]
        on_cpu = heard.encoded.to_device(ctranslate2.Device.cpu) if self._on_gpu else heard.encoded
        frames = np.array(on_cpu)[row : row + 1]
        found = []
        for start, end in spans:
            part = frames[:, math.floor(start * _FRAMES) : math.ceil(end * _FRAMES)]
            found += self._languages(ctranslate2.StorageView.from_array(np.ascontiguousarray(part)))
        return found

    def tell(self, windows: Sequence[Window]) -> list[Votes]:
        """How probable each language is in short windows, heard for nothing else."""
        longest = max(window.seconds for window in windows)
        return self.hear(windows, min(LONGEST, max(_SHORTEST_TOLD, longest + 1))).languages

    def likelier(self, window: Window, languages: Sequence[str]) -> str | None:
        """The one of these languages in which the window makes most sense; None where it makes none."""
        encoded = self.hear([window]).encoded
        results = [(each, self._generate(encoded, [each], _BEAM)[0]) for each in languages]
        sensible = [
            (result.sure, each)
            for each, result in results
            if not result.is_silence and not result.is_doubtful
        ]
        return max(sensible)[1] if sensible else None

    def _languages(self, encoded: Any) -> list[Votes]:
        found = self.model.model.detect_language(encoded)
        return [{token[2:-2]: probability for token, probability in each} for each in found]

    def decode(self, heard: Heard, languages: Sequence[str]) -> list[list[Word]]:
        """The words said in each window, given its language; none where the model hears no speech.

        Windows are decoded together by beam search; one whose text is improbable, an echo or goes
        round in circles is decoded again by itself, over 30 seconds and then at rising temperatures.
        """
        results = self._generate(heard.encoded, languages, _BEAM)
        for row, (window, language) in enumerate(zip(heard.windows, languages, strict=True)):
            if results[row].is_doubtful and not results[row].is_silence:
                results[row] = self._retry(window, language, results[row])
        return self._words(heard, languages, [[] if each.is_silence else each.tokens for each in results])

    def _generate(self, encoded: Any, languages: Sequence[str], options: dict[str, Any]) -> list[_Result]:
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizers = [self._tokenizer(language) for language in languages]
        results = self.model.model.generate(
            encoded,
            [self.model.get_prompt(tokenizer, [], without_timestamps=True) for tokenizer in tokenizers],
            max_length=self.model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizers[0], [-1]),
            **options,
        )
        return [
            _Result(tokens, result.scores[0] * len(tokens) / (len(tokens) + 1), result.no_speech_prob, text)
            for result, tokenizer in zip(results, tokenizers, strict=True)
            for tokens in [result.sequences_ids[0]]
            for text in [tokenizer.decode(tokens).strip()]
        ]

    def _retry(self, window: Window, language: str, first: _Result) -> _Result:
        import ctranslate2

        ctranslate2.set_random_seed(0)  # the same sound says the same every time
        encoded = self.hear([window], LONGEST).encoded
        sampled: dict[str, Any] = {"beam_size": 1, "num_hypotheses": 5, "sampling_topk": 0}
        tried = [first]
        for options in [_BEAM, *(sampled | {"sampling_temperature": each} for each in _TEMPERATURES)]:
            tried += self._generate(encoded, [language], options)
            if not tried[-1].is_doubtful or tried[-1].is_silence:
                return tried[-1]
        straight = [each for each in tried[1:] if each.repeats <= _REPEATS]
        return max(straight or tried, key=lambda each: each.sure)

    def _words(self, heard: Heard, languages: Sequence[str], tokens: list[list[int]]) -> list[list[Word]]:
        """Words with their times, by the decoder's attention to the sound (dynamic time warping)."""
        if not any(tokens):
            return [[] for _ in tokens]
        tokenizers = [self._tokenizer(language) for language in languages]
        frames = [math.ceil(window.seconds * self.model.frames_per_second) for window in heard.windows]
        aligned = self.model.model.align(heard.encoded, tokenizers[0].sot_sequence, tokens, frames)
        said = []
        for window, tokenizer, text, each in zip(heard.windows, tokenizers, tokens, aligned, strict=True):
            starts = [window.lead] * (len(text) + 1)
            for token, time in reversed(each.alignments):
                starts[token] = max(window.lead, time / self.model.tokens_per_second)
            parts, sizes = tokenizer.split_to_word_tokens(text)
            words, at = [], 0
            for part, size in zip(parts, map(len, sizes), strict=True):
                words.append(Word(window.start + starts[at], window.start + starts[at + size], part))
                at += size
            said.append(with_marks(words))
        return said

    def _tokenizer(self, language: str) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        if language not in self._tokenizers:
            multilingual = self.model.model.is_multilingual
            self._tokenizers[language] = Tokenizer(
                self.model.hf_tokenizer, multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]


@dataclass(frozen=True, slots=True)
class _Result:
    """Tokens, the mean log probability of one, the probability that nothing is said, and the text."""

    tokens: list[int]
    sure: float
    no_speech: float
    text: str

    @property
    def repeats(self) -> float:
        data = self.text.encode()
        return len(data) / len(zlib.compress(data)) if data else 0.0

    @property
    def is_doubtful(self) -> bool:
        words = [word.strip(".,!?…").lower() for word in self.text.split()]
        echoes = len(words) > 1 and len(set(words)) == 1
        return self.sure < _UNSURE or self.repeats > _REPEATS or echoes

    @property
    def is_silence(self) -> bool:
        return not self.text or (self.no_speech > _NO_SPEECH and self.sure < _UNSURE)
