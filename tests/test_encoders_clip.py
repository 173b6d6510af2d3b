"""CLIP: a small one, built and saved here, through both code paths, beside plain transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mediaflow.errors import ModelError
from mediaflow.models.encoders import image_encoder, image_space, visual_space
from mediaflow.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.torch]

SIDE = 32
QUESTIONS = ["a cat", "two dogs on a beach", "cat"]


def small_tokenizer(folder: Path) -> None:
    """Words of one letter and what `a`, `t` and `c` can be joined to, in the form of OpenAI's tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import CLIPTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(letter + "</w>" for letter in letters), "at</w>", "cat</w>"]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    merges = [("a", "t</w>"), ("c", "at</w>")]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)],
    )
    CLIPTokenizerFast(tokenizer_object=tokenizer, model_max_length=20).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights in the layout of transformers, as a person has it on a disk."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models") / "small-clip"
    small_tokenizer(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**size, "vocab_size": 56, "max_position_embeddings": 20, "bos_token_id": 54, "eos_token_id": 55}
    vision = {**size, "image_size": SIDE, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    CLIPModel(config).eval().save_pretrained(folder)
    sides = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    CLIPImageProcessor(**sides).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as two ONNX files, in the form that `clip` of models.yaml has."""
    import torch
    from transformers import CLIPModel

    out = tmp_path_factory.mktemp("models") / "small-clip-onnx"
    out.mkdir()
    model = CLIPModel.from_pretrained(folder, attn_implementation="eager").eval().requires_grad_(False)

    class Text(torch.nn.Module):
        def forward(self, input_ids):
            return model.text_projection(model.text_model(input_ids=input_ids).pooler_output)

    class Vision(torch.nn.Module):
        def forward(self, pixel_values):
            return model.visual_projection(model.vision_model(pixel_values=pixel_values).pooler_output)

    for network, example, given, answer in (
        (Text(), torch.tensor([[54, 0, 26, 55]]), "input_ids", "text_embeds"),
        (Vision(), torch.zeros((1, 3, SIDE, SIDE)), "pixel_values", "image_embeds"),
    ):
        axes = {given: {0: "n", 1: "s"} if given == "input_ids" else {0: "n"}, answer: {0: "n"}}
        name = "text_model.onnx" if given == "input_ids" else "vision_model.onnx"
        torch.onnx.export(
            network,
            (example,),
            str(out / name),
            input_names=[given],
            output_names=[answer],
            dynamic_axes=axes,
            dynamo=False,
            opset_version=17,
        )
    (out / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return out


def choose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MEDIAFLOW_SPACES__IMAGE", name)
    monkeypatch.setenv("MEDIAFLOW_DEVICE", "cpu")
    load_settings.cache_clear()


@pytest.fixture(params=["transformers", "onnx"])
def encoder(request: pytest.FixtureRequest, folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch):
    choose(monkeypatch, f"file:{folder if request.param == 'transformers' else exported}")
    return image_encoder(load_settings())


def pictures() -> list[np.ndarray]:
    """Smooth pictures of several shapes: how noise is made smaller differs between libraries."""
    out = []
    for height, width in ((40, 64), (64, 40), (48, 48)):
        rows, columns = np.mgrid[0:height, 0:width]
        channels = [rows * 255 / height, columns * 255 / width, (rows + columns) * 255 / (height + width)]
        out.append(np.stack(channels, axis=-1).astype(np.uint8))
    return out


def plain_vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """What transformers itself makes of the questions and the pictures."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    texts, images = [], []
    with torch.no_grad():
        for question in QUESTIONS:
            given = processor(text=[question], return_tensors="pt")
            pixels = processor(images=[Image.fromarray(pictures()[0])], return_tensors="pt")
            texts.append(model(**given, **pixels).text_embeds[0].numpy())
        for picture in pictures():
            pixels = processor(images=[Image.fromarray(picture)], return_tensors="pt")
            given = processor(text=["a"], return_tensors="pt")
            images.append(model(**given, **pixels).image_embeds[0].numpy())
    return np.stack(texts), np.stack(images)


def test_both_sides_equal_those_of_plain_transformers(encoder, folder: Path) -> None:
    texts, images = plain_vectors(folder)
    np.testing.assert_allclose(encoder.encode_queries(QUESTIONS), texts, atol=1e-4)
    assert (encoder.encode_images(pictures()) * images).sum(axis=1).min() > 0.999


def test_pictures_and_questions_share_one_space_of_unit_vectors(encoder) -> None:
    for vectors in (encoder.encode_queries(QUESTIONS), encoder.encode_images(pictures())):
        assert vectors.shape == (3, encoder.dimension) == (3, 24)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_words_and_likeness_use_the_same_space(encoder) -> None:
    settings = load_settings()
    assert encoder.space == encoder.visual_space == image_space(settings) == visual_space(settings)
    assert list(encoder.describe(pictures())) == [encoder.space]


def test_a_folder_without_a_model_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, f"file:{tmp_path}")
    with pytest.raises(ModelError, match="cannot load"):
        image_encoder(load_settings())
