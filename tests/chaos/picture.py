"""A picture that says what it is: its colour names a deed, its pattern a number and so a word and vectors.

Both sides use this: the pile paints by it, the tasks read by it, the verdict computes by it what must
have been found. It outlives the decoders: a block of 8 by 8 pixels for each bit.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np

BITS = 24
BLOCK = 8
HEIGHT, WIDTH = 6 * BLOCK, 8 * BLOCK
DEPTH = 14  # how far a block is from the colour of the picture
CLEAR = 5

# What a task does with a picture, by the task that does it. The first two harm nobody.
DEEDS: dict[str, str] = {
    "plain": "",
    "slow": "",
    "segfault": "look",
    "hang": "look",
    "hoard": "look",
    "exit": "look",
    "refuse": "look",
    "break": "look",
    "mistyped": "ocr",
    "huge": "ocr",
    "crooked": "embed",
    "nan": "embed",
}
_COLOURS = np.array(list(itertools.product((48, 128, 208), repeat=3)), dtype=np.float32)
_OF_DEED = {deed: _COLOURS[(2 * index + 13) % 27] for index, deed in enumerate(DEEDS)}

IMAGE_DIMENSION = 16
TEXT_DIMENSION = 12
_VOWELS, _CONSONANTS = "aeiou", "bdfgklmnprstvz"


@dataclass(frozen=True, slots=True)
class Page:
    """What a picture says: its deed and its number; no number where it is a stranger's picture."""

    deed: str
    number: int | None

    @property
    def word(self) -> str:
        """The word written on it; no two numbers have the same, and none begins another."""
        assert self.number is not None
        return word_of(self.number)


def word_of(number: int) -> str:
    """The word of a number: always as long, so that no word begins another."""
    letters = []
    for _ in range(5):
        number, consonant = divmod(number, len(_CONSONANTS))
        number, vowel = divmod(number, len(_VOWELS))
        letters.append(_CONSONANTS[consonant] + _VOWELS[vowel])
    return "".join(reversed(letters))


def paint(page: Page) -> np.ndarray:
    """The pixels of a page, uint8 (HEIGHT, WIDTH, 3)."""
    assert page.number is not None
    bits = [page.number >> at & 1 for at in range(BITS)]
    signs = np.array([1 if bit else -1 for bit in bits] + [-1 if bit else 1 for bit in bits])
    pattern = np.kron(signs.reshape(6, 8), np.ones((BLOCK, BLOCK)))[:, :, None] * DEPTH
    return np.clip(_OF_DEED[page.deed] + pattern, 0, 255).astype(np.uint8)


def read(pixels: np.ndarray) -> Page:
    """What a picture (h, w, 3) says, after whatever compression it has seen."""
    if pixels.shape != (HEIGHT, WIDTH, 3):
        return Page("plain", None)
    colour = pixels.reshape(-1, 3).mean(axis=0)
    deed = min(_OF_DEED, key=lambda name: float(np.abs(colour - _OF_DEED[name]).sum()))
    blocks = pixels.reshape(6, BLOCK, 8, BLOCK, 3).mean(axis=(1, 3, 4)).reshape(-1) - colour.mean()
    bits = blocks[:BITS] > 0
    if np.abs(blocks).min() < CLEAR or (bits == (blocks[BITS:] > 0)).any():
        return Page("plain", None)
    return Page(deed, sum(1 << at for at in range(BITS) if bits[at]))


def image_vector(page: Page) -> np.ndarray:
    """The vector (IMAGE_DIMENSION,) of a picture, float32 of unit length."""
    return _vector(f"image {page.number}", IMAGE_DIMENSION)


def text_vector(text: str) -> np.ndarray:
    """The vector (TEXT_DIMENSION,) of a text, float32 of unit length."""
    return _vector(f"text {text}", TEXT_DIMENSION)


def _vector(of: str, dimension: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(of.encode()).digest()[:8])
    values = np.random.default_rng(seed).normal(size=dimension)
    return (values / np.linalg.norm(values)).astype(np.float32)
