"""A box's link: what it does when an answer does not come, or is not what was wished for."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import MANIFEST
from mediaflow.models.identity import required_models
from tests.installation import until
from tests.played_gateway import Asked, Reply, played_gateway
from tests.test_box import with_model
from tests.test_box_parts import manifest, tar
from workers.box.life import Life
from workers.box.models import bring_models
from workers.box.renditions import Renditions


@pytest.mark.parametrize(("reply", "hellos"), [(Reply(500), 2), (Reply(503), 2), (Reply(429), 1)])
def test_items_that_may_have_been_given_out_in_vain_are_given_out_anew(
    tmp_path: Path, reply: Reply, hellos: int
) -> None:
    """A hello has the gateway do so: after an error of its own; not where it refused at once."""
    replies = {"/box/take": [reply]}

    def answer(asked: Asked) -> Reply:
        left = replies.get(asked.path)
        return left.pop() if left else Reply()

    with played_gateway(tmp_path, answer) as gateway:
        gateway.link.hello({}, [], well=True)
        gateway.link.take("look", 4)
        assert gateway.paths().count("/box/take") == 2
        assert gateway.paths().count("/box/hello") == hellos


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_model_whose_download_was_cut_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_ranges: bool
) -> None:
    weights = os.urandom(2_000_000)
    with_model(tmp_path, monkeypatch, weights)
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "of-the-box"))
    assert required_models("look") == ["weights"]
    begun: list[int] = []

    def answer(asked: Asked) -> Reply:
        begun.append(int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-")))
        cut = 900_000 if len(begun) < 3 else None
        if not (begun[-1] and knows_ranges):
            return Reply(body=weights, cut=cut)
        said = f"bytes {begun[-1]}-{len(weights) - 1}/{len(weights)}"
        return Reply(206, weights[begun[-1] :], {"content-range": said}, cut)

    with played_gateway(tmp_path, answer) as gateway:
        bring_models("look", gateway.link, Life(1, 1))
    assert begun[0] == 0 < begun[1]
    assert (tmp_path / "of-the-box" / "weights" / "weights.bin").read_bytes() == weights
    if knows_ranges:
        assert begun[1] < begun[2]


def test_renditions_that_do_not_fit_beside_others_wait_until_those_are_gone(
    home: Path, tmp_path: Path
) -> None:
    sound = tar(("audio.flac", os.urandom(400_000)), (MANIFEST, manifest(audio="audio.flac"))).read()
    assets = ["aa" * 32, "bb" * 32]

    def there() -> list[str]:
        return [asset for asset in assets if rendition_folder(asset).exists()]

    with played_gateway(tmp_path, lambda _: Reply(body=sound)) as gateway:
        renditions = Renditions(gateway.link, gateway.link.life)
        renditions.most_bytes = len(sound) + 100_000
        renditions.hold(assets[0], "audio", "/first.tar")
        second = Thread(target=renditions.hold, args=(assets[1], "audio", "/second.tar"), daemon=True)
        second.start()
        until(lambda: "/second.tar" in gateway.paths(), "the second is asked for")
        second.join(1)
        assert there() == assets[:1]
        renditions.release(assets[0])
        second.join(10)
        assert there() == assets[1:]


def test_a_rendition_larger_than_the_room_is_fetched_where_nothing_else_is(
    home: Path, tmp_path: Path
) -> None:
    sound = tar(("audio.flac", os.urandom(400_000)), (MANIFEST, manifest(audio="audio.flac"))).read()
    with played_gateway(tmp_path, lambda _: Reply(body=sound)) as gateway:
        renditions = Renditions(gateway.link, gateway.link.life)
        renditions.most_bytes = 1000
        renditions.hold("aa" * 32, "audio", "/first.tar")
        renditions.hold("aa" * 32, "pictures", "/first.tar")
        assert rendition_folder("aa" * 32).exists()
