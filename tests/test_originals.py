"""Originals are opened once, beneath the root that was submitted: no link or pipe in a file's place."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from jobs.handlers import Prepare
from mediaflow.errors import MediaError
from mediaflow.media.content import hash_of
from mediaflow.media.originals import open_original, state
from mediaflow.ops.plan import plan
from tests.installation import Installation, answer, mediaflow, paint, until

SECRET = b"somebody else's"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    (folder / "2024" / "a.jpg").write_bytes(b"a picture")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(SECRET)
    return folder


def read(path: Path | bytes, root: Path | None) -> bytes:
    with open_original(os.fsencode(path), os.fsencode(root) if root else None) as file:
        return file.read(100)  # a device may never end


def test_a_file_below_its_root_is_opened(root: Path) -> None:
    assert read(root / "2024" / "a.jpg", root) == b"a picture"
    assert read(root / "2024" / "a.jpg", root / "2024") == b"a picture"
    assert read(root / "2024" / "a.jpg", Path("/")) == b"a picture"


def test_the_root_may_be_reached_by_links(root: Path) -> None:
    (root.parent / "link").symlink_to(root)
    link = root.parent / "link"
    assert read(link / "2024" / "a.jpg", link) == b"a picture"


def test_a_link_in_the_place_of_a_file_is_not_followed(root: Path) -> None:
    path = root / "2024" / "a.jpg"
    path.unlink()
    path.symlink_to(root.parent / "outside" / "a.jpg")
    with pytest.raises(MediaError, match="leads through a link") as caught:
        read(path, root)
    assert not caught.value.permanent, "it was a file when the folder was walked"


def test_a_link_in_the_place_of_a_folder_is_not_followed(root: Path) -> None:
    (root / "2024" / "a.jpg").unlink()
    (root / "2024").rmdir()
    (root / "2024").symlink_to(root.parent / "outside")
    with pytest.raises(MediaError, match="leads through a link"):
        read(root / "2024" / "a.jpg", root)


def test_a_file_that_was_named_itself_may_be_a_link(root: Path) -> None:
    (root / "link.jpg").symlink_to(root / "2024" / "a.jpg")
    assert read(root / "link.jpg", None) == b"a picture"
    assert read(root / "link.jpg", root / "link.jpg") == b"a picture"


@pytest.mark.parametrize(
    "way", ["../outside/a.jpg", "2024/../../outside/a.jpg", "./2024/a.jpg", "2024//a.jpg"]
)
def test_a_path_that_turns_back_is_refused(root: Path, way: str) -> None:
    with pytest.raises(MediaError, match="leads out of the folder"):
        read(os.fsencode(root) + b"/" + way.encode(), root)


def test_a_path_beside_the_root_is_refused(root: Path) -> None:
    (root.parent / "photos-of-others").mkdir()
    (root.parent / "photos-of-others" / "a.jpg").write_bytes(SECRET)
    for path in (root.parent / "photos-of-others" / "a.jpg", root.parent / "outside" / "a.jpg"):
        with pytest.raises(MediaError, match="leads out of the folder"):
            read(path, root)


@pytest.mark.timeout(10)
def test_a_pipe_is_refused_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    for named in (root, None):
        with pytest.raises(MediaError, match="a pipe or a device"):
            read(root / "pipe.jpg", named)


def test_sockets_devices_and_folders_are_refused(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s.jpg"))
        with pytest.raises(MediaError, match="not a file that can be read"):
            read(root / "s.jpg", root)
    for path, beneath in ((Path("/dev/zero"), Path("/dev")), (root / "2024", root)):
        with pytest.raises(MediaError, match="not a file that can be read"):
            read(path, beneath)


def test_names_that_are_no_text_are_opened(root: Path) -> None:
    path = os.path.join(os.fsencode(root), b"gr\xfc\xdfe\n.jpg")
    with open(path, "wb") as file:
        file.write(b"x")
    assert read(path, root) == b"x"


def test_what_is_read_is_one_file_whatever_takes_its_name_meanwhile(root: Path) -> None:
    path = root / "2024" / "a.jpg"
    with open_original(os.fsencode(path), os.fsencode(root)) as file:
        before = state(file)
        path.rename(root / "away")
        path.symlink_to(root.parent / "outside" / "a.jpg")
        first = hash_of(file)
        assert file.read() == b"a picture"
        assert (hash_of(file), state(file)) == (first, before)


def test_a_disk_that_fails_is_not_the_file_s_fault() -> None:
    with (
        open_original(b"/proc/self/mem", b"/proc/self") as file,  # a file whose first byte cannot be read
        pytest.raises(MediaError, match="cannot be read: Input/output error") as caught,
    ):
        hash_of(file)
    assert not caught.value.permanent


def test_no_descriptor_is_left_open(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    (root / "link").symlink_to("/dev")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (root / "2024" / "a.jpg", root / "pipe.jpg", root / "link" / "zero", root / "none" / "a.jpg"):
        for _ in range(5):
            try:
                read(path, root)
            except MediaError:
                continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_prepare_opens_what_it_is_told_beneath_its_root(root: Path) -> None:
    handler = Prepare()
    handler.load()
    picture = paint(root / "2024" / "b.png")
    (root / "2025").symlink_to(root / "2024")
    item = {"path": str(picture), "root": str(root), "asset": None}
    [result] = handler.handle([item])
    assert result["bytes"] == picture.stat().st_size
    with pytest.raises(MediaError, match="through a link"):
        handler.handle([item | {"path": str(root / "2025" / "b.png")}])
    # Also where nothing would be read, as the rendition is there.
    with pytest.raises(MediaError, match="through a link"):
        handler.handle([item | {"path": str(root / "2025" / "b.png"), "asset": result["asset"]}])


def test_dots_in_an_argument_are_resolved_before_anything_is_opened(root: Path) -> None:
    (root / "elsewhere").symlink_to(root.parent / "outside")
    asked = plan([str(root / "elsewhere" / ".." / "2024"), f"{root}/./2024/"], "default", ["embed"], [])
    assert asked.scope.roots == (os.fsencode(root / "2024"),)


@pytest.mark.slow
def test_the_root_of_a_submit_goes_with_its_files(installation: Installation, root: Path) -> None:
    good = paint(root / "deep" / "down" / "good.png", seed=1)
    (root.parent / "way-in").symlink_to(root)
    (root.parent / "alone.png").symlink_to(paint(root.parent / "outside" / "b.png", seed=2))
    (root / "2024" / "a.jpg").unlink()
    asked = [str(root.parent / "way-in"), str(root.parent / "alone.png")]
    assert answer("submit", *asked, "--wait")["done"] == 2
    rows = installation.ask("SELECT CAST(folder AS TEXT), CAST(name AS TEXT), root FROM locations")
    assert {f"{folder}/{name}"[:root] for folder, name, root in rows} == set(asked)

    # What lacks a task is enqueued without a walk of its folder, and keeps its root.
    assert answer("submit", *asked, "--tasks", "look,late", "--wait")["done"] == 2
    assert set(installation.ask("SELECT folder || '/' || name, root FROM locations")) == {
        (f"{folder}/{name}", root) for folder, name, root in rows
    }

    # After the walk a folder becomes a link: what is tried again knows the root still.
    installation.up()
    good.write_bytes(b"no picture any more")
    assert answer("submit", asked[0], "--wait", status=1)["failed"] == 1
    (root / "deep").rename(root.parent / "moved")
    (root / "deep").symlink_to(root.parent / "moved")
    assert mediaflow("retry").returncode == 0
    until(lambda: "through a link" in answer("failures")[0]["reason"], "the link is refused")
