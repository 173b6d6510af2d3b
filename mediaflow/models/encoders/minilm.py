"""Text vectors by all-MiniLM-L6-v2 on ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mediaflow.errors import ModelError
from mediaflow.models.encoders.session import open_session
from mediaflow.models.store import model_folder
from mediaflow.settings import Settings

SPACE = "minilm-l6-v2"
LENGTH = 256
BATCH = 8


class MiniLM:
    """all-MiniLM-L6-v2: 384 dimensions, English; 256 tokens, mean of the token vectors, unit length.

    Recipe of the model card of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). `folder` holds
    `model.onnx` and `tokenizer.json`; without it, the entry `minilm` of models.yaml is used.
    """

    space = SPACE
    dimension = 384

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        from tokenizers import Tokenizer

        folder = folder or model_folder("minilm")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{folder / 'tokenizer.json'} cannot be loaded: {error}.") from error
        # The file asks for padding to 128 tokens, which would make a short query ten times slower.
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(LENGTH)
        self._session = open_session(folder / "model.onnx", settings)
        self._inputs = {node.name for node in self._session.get_inputs()}

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, 384) float32 of unit length; texts are grouped by length, so padding costs little."""
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            out[chunk] = self._encode([texts[index] for index in chunk])
        return out

    def familiarity(self, text: str) -> float:
        """The share, 0 to 1, of a text's words that the vocabulary holds whole: low if it is not English."""
        pieces = Counter(self._tokenizer.encode(text, add_special_tokens=False).word_ids)
        return sum(count == 1 for count in pieces.values()) / max(1, len(pieces))

    def _encode(self, texts: list[str]) -> np.ndarray:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        return unit((hidden * weights).sum(axis=1) / weights.sum(axis=1))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) scaled to unit length, float32; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: np.ndarray = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled
