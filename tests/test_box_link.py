"""A box's link: what it does when an answer does not come, or is not what was wished for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.played_gateway import Asked, Reply, played_gateway


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
