"""The concepts' vectors are worked out once per machine; their cache is never needed, only quick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mediaflow.models.encoders.concept_vectors import _read, _write, concept_vectors
from mediaflow.models.encoders.concepts import load_concepts
from mediaflow.models.encoders.e5 import shared_e5
from mediaflow.models.encoders.minilm import MiniLM
from mediaflow.settings import load_settings


def test_what_was_written_is_read_again_and_leaves_nothing_else(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    _write(tmp_path / "new" / "a.npz", vectors)
    np.testing.assert_array_equal(_read(tmp_path / "new" / "a.npz"), vectors)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a cache"])
def test_a_damaged_cache_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert _read(tmp_path / "a.npz") is None
    assert _read(tmp_path / "not-there.npz") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    _write(tmp_path / "file" / "a.npz", np.zeros(3, np.float32))


@pytest.mark.slow
def test_the_mean_of_the_classes_is_taken_off_and_people_come_last() -> None:
    settings = load_settings()
    english, multilingual = MiniLM(settings), shared_e5(settings)
    vectors = concept_vectors(english, multilingual)
    assert vectors.english.shape == vectors.multilingual.shape == (len(load_concepts()) + 1, 384)
    np.testing.assert_allclose(vectors.english[:-1].mean(axis=0), 0, atol=1e-5)
    people = english.encode_texts(["several people", "a box of apples"]) - vectors.english_mean
    assert people[0] @ vectors.english[-1] > people[1] @ vectors.english[-1]
