"""Weights are read as data: checkpoints without unpickling, graphs without a converter."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mediaflow.errors import ModelError
from mediaflow.models.encoders import e5
from mediaflow.models.encoders.checkpoint import read_checkpoint
from mediaflow.models.encoders.graph import Graph
from mediaflow.models.encoders.session import open_session
from mediaflow.models.encoders.unigram import Unigram
from mediaflow.models.store import model_folder
from mediaflow.settings import load_settings

PREFIX = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/mediaflow-was-here",)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(file: Path) -> None:
    file.write_bytes(PREFIX + pickle.dumps(Evil(), 2))
    with pytest.raises(ModelError, match="which weights do not need"):
        read_checkpoint(file)


def test_a_file_that_is_no_checkpoint_is_a_model_error(file: Path) -> None:
    file.write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_checkpoint(file)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [100, 40_000, 1_000_000])
def test_a_checkpoint_that_ends_early_is_a_model_error(file: Path, kept: int) -> None:
    whole = model_folder("efficientnet-lite2") / "efficientnet-lite2.pth"
    file.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_checkpoint(file)


@pytest.mark.slow
@pytest.mark.torch
def test_a_checkpoint_of_pytorch_is_read_bit_for_bit(file: Path) -> None:
    import torch

    table = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {"plain": torch.randn(3, 5), "turned": table.t(), "part": table[1:3], "steps": torch.tensor(7)}
    torch.save(state, file, _use_new_zipfile_serialization=False)
    read = read_checkpoint(file)
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"E5S1" + bytes(80)])
def test_a_file_that_is_no_e5_is_a_model_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        e5.read(file)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [200, 2_000_000, 70_000_000])
def test_an_e5_that_ends_early_is_a_model_error(file: Path, kept: int) -> None:
    whole = model_folder("e5-small-multilingual") / "e5-small-q4.bin"
    with whole.open("rb") as stream:
        file.write_bytes(stream.read(kept))
    with pytest.raises(ModelError, match="cannot be read as weights"):
        e5.read(file)


def test_a_graph_computes_what_it_says() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph = Graph()
    product = graph.node("Gemm", "x", graph.weight(matrix), graph.weight(np.ones(2, np.float32)), transB=1)
    graph.node("Softmax", product, output="y", axis=-1)
    session = open_session(graph.serialised({"x": ("n", 3)}, {"y": ("n", 2)}), load_settings())
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    powers = np.exp(x @ matrix.T + 1)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)


def test_a_model_that_onnx_runtime_cannot_load_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        open_session(b"no model", load_settings())


class TestUnigram:
    pieces = ("<s>", "</s>", "<unk>", "\u2581", "\u2581ka", "tze", "\u2581katze", "k", "a", "ö")
    scores = (0, 0, 0, -3, -2, -2, -3, -5, -5, -5)

    @pytest.fixture
    def tokenizer(self) -> Unigram:
        return Unigram([piece.encode() for piece in self.pieces], self.scores, 0, 1, 2)

    def cut(self, tokenizer: Unigram, text: str, length: int = 99) -> list[str]:
        return [self.pieces[index] for index in tokenizer.encode(text, length)]

    def test_the_most_probable_pieces_win(self, tokenizer: Unigram) -> None:
        assert self.cut(tokenizer, "katze") == ["<s>", "\u2581katze", "</s>"]

    def test_a_letter_that_no_piece_holds_is_unknown(self, tokenizer: Unigram) -> None:
        assert self.cut(tokenizer, "kaß") == ["<s>", "\u2581ka", "<unk>", "</s>"]

    def test_white_space_and_composed_letters_are_normalised(self, tokenizer: Unigram) -> None:
        assert self.cut(tokenizer, " o\u0308\n\t a ") == ["<s>", "\u2581", "ö", "\u2581", "a", "</s>"]

    def test_long_texts_are_cut_before_the_end_mark(self, tokenizer: Unigram) -> None:
        assert self.cut(tokenizer, "katze katze katze", 3) == ["<s>", "\u2581katze", "</s>"]

    def test_an_empty_text_is_no_error(self, tokenizer: Unigram) -> None:
        assert self.cut(tokenizer, "") == ["<s>", "\u2581", "</s>"]
