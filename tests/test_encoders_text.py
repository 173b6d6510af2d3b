"""The text space: what is near to what, in two languages, and that two backends of a model agree."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mediaflow.models.encoders import text_encoder, text_space
from mediaflow.models.encoders.minilm import MiniLM
from mediaflow.models.store import model_folder
from mediaflow.settings import load_settings

pytestmark = pytest.mark.slow

SENTENCES = [
    "The invoice is due at the end of the month.",
    "The cat sleeps on the warm oven.",
    "Printing was invented in the fifteenth century.",
]
GERMAN = [
    "Die Rechnung ist am Monatsende fällig.",
    "Die Katze schläft auf dem warmen Ofen.",
    "Der Buchdruck wurde im 15. Jahrhundert erfunden.",
]


@pytest.fixture(params=["e5", "minilm"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MEDIAFLOW_SPACES__TEXT", request.param)
    monkeypatch.setenv("MEDIAFLOW_DEVICE", "cpu")
    load_settings.cache_clear()
    return request.param


def test_vectors_are_float32_of_unit_length_in_the_order_of_the_texts(chosen: str) -> None:
    encoder = text_encoder(load_settings())
    texts = ["short", "a much longer text " * 200, "", "Katze", "東京 🎉"]
    vectors = encoder.encode_texts(texts)
    assert vectors.shape == (len(texts), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    assert (vectors * alone).sum(axis=1).min() > 0.99  # quantised activations: a batch shifts them a little


def test_no_texts_give_no_vectors(chosen: str) -> None:
    encoder = text_encoder(load_settings())
    assert encoder.encode_texts([]).shape == (0, encoder.dimension)


def test_the_name_of_the_space_is_that_of_the_encoder(chosen: str) -> None:
    assert text_space(load_settings()) == text_encoder(load_settings()).space


def test_a_german_sentence_is_nearest_to_its_english_translation() -> None:
    encoder = text_encoder(load_settings())
    scores = encoder.encode_texts(GERMAN) @ encoder.encode_texts(SENTENCES).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_a_paraphrase_that_shares_no_word_is_found() -> None:
    encoder = text_encoder(load_settings())
    asked = encoder.encode_texts(["wann muss bezahlt werden", "ein Haustier ruht", "Gutenbergs Werk"])
    assert (asked @ encoder.encode_texts(GERMAN).T).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_default_encoders_load_without_torch() -> None:
    program = (
        "import sys; from mediaflow.settings import load_settings; from mediaflow.models import encoders;"
        "s = load_settings(); encoders.text_encoder(s); encoders.image_encoder(s);"
        "assert 'torch' not in sys.modules and 'sentence_transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def real_sentences(media: Path) -> list[str]:
    rows = [json.loads(line) for line in (media / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    return sorted({row["query"] for row in rows})


def sentence_transformers_vectors(texts: list[str]) -> np.ndarray:
    from mediaflow.models.encoders.sentence import SentenceText

    folder = str(model_folder("minilm-torch"))
    return SentenceText(folder, "minilm-l6-v2", load_settings()).encode_texts(texts)


@pytest.mark.torch
def test_int8_on_onnx_runtime_agrees_with_sentence_transformers_on_real_sentences(media: Path) -> None:
    texts = real_sentences(media)
    assert len(texts) > 200
    cosines = (MiniLM(load_settings()).encode_texts(texts) * sentence_transformers_vectors(texts)).sum(axis=1)
    assert cosines.min() >= 0.99


@pytest.mark.torch
def test_the_same_weights_give_the_same_vectors_in_both_backends(media: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    source = model_folder("minilm-torch")
    model = AutoModel.from_pretrained(str(source)).eval().requires_grad_(False)

    class Hidden(torch.nn.Module):
        def forward(self, input_ids, attention_mask, token_type_ids):
            given = dict(zip(names, (input_ids, attention_mask, token_type_ids), strict=True))
            return model(**given).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ones = torch.ones((2, 7), dtype=torch.long)
    torch.onnx.export(
        Hidden(),
        (ones, ones, ones * 0),
        str(tmp_path / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
        dynamo=False,
        opset_version=17,
    )
    shutil.copy(source / "tokenizer.json", tmp_path)
    texts = real_sentences(media)
    exported = MiniLM(load_settings(), tmp_path).encode_texts(texts)
    assert (exported * sentence_transformers_vectors(texts)).sum(axis=1).min() >= 0.9999
