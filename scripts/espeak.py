"""Synthetic speech by eSpeak NG's library, called through ctypes: nothing needs to be installed for it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

# From espeak-ng/speak_lib.h.
_RETRIEVAL = 1
_RATE = 1
_CHARACTERS = 1
_UTF8 = 1
_SUCCESS = 0


class Speaker:
    """eSpeak NG, loaded once in a process; `rate` is the samples per second of all it says.

    `library` is libespeak-ng.so, `data` its folder espeak-ng-data. Raises OSError when the library
    cannot be loaded, and RuntimeError when it refuses its data, a voice or a text.
    """

    def __init__(self, library: Path, data: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self.rate = self._library.espeak_Initialize(_RETRIEVAL, 0, str(data).encode(), 0)
        if self.rate <= 0:
            raise RuntimeError(f"eSpeak NG cannot read its data in {data}.")
        self._heard: list[np.ndarray] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = callback(self._hear)  # the library keeps only the address
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, words_per_minute: int = 150) -> np.ndarray:
        """The text as spoken by `voice` ("en-us", "de"; "de+f3" is a variant): (samples,) int16, mono."""
        self._heard = []
        if self._library.espeak_SetVoiceByName(voice.encode()) != _SUCCESS:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}.")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        encoded = text.encode() + b"\0"
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _CHARACTERS, 0, _UTF8, None, None
        )
        if status != _SUCCESS or self._library.espeak_Synchronize() != _SUCCESS or not self._heard:
            raise RuntimeError(f"eSpeak NG cannot say {text!r}.")
        return np.concatenate(self._heard)

    def _hear(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0
