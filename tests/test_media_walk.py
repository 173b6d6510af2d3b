"""What `submit` sees of a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mediaflow.media.kinds import SUFFIXES, claims_medium, reason_to_skip
from mediaflow.media.walk import walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def touch(path: Path, size: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def names(*roots: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    return [os.fsdecode(file.name) for folder in walk(roots, exclude) for file in folder.files]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("IMG_1.JPG", None),
        ("photo.heic", None),
        ("NOEXTENSION", None),
        ("voice.x", None),
        (".hidden.jpg", "hidden"),
        ("._IMG_1.JPG", "hidden"),
        ("Thumbs.db", "system"),
        ("~$letter.docx", "system"),
        ("IMG_1.JPG.xmp", "sidecar"),
        ("IMG_1.aae", "sidecar"),
        ("film.mp4.part", "unfinished"),
        ("notes.txt", "unsupported"),
        ("script.py", "unsupported"),
        ("README", "unsupported"),
    ],
)
def test_a_name_tells_whether_a_file_may_be_a_medium(name: str, reason: str | None) -> None:
    assert reason_to_skip(name) == reason


def test_every_known_suffix_is_a_medium_in_any_case() -> None:
    for suffix in SUFFIXES:
        assert reason_to_skip(f"a.{suffix}") is None
        assert reason_to_skip(f"a.{suffix.upper()}") is None


def test_an_ending_that_other_programs_use_too_claims_no_medium() -> None:
    assert reason_to_skip("index.ts") is None  # TypeScript, or a recording: its content decides
    assert not claims_medium("index.ts")
    assert claims_medium("IMG_1.JPG")
    assert not claims_medium("jpg")


def test_files_come_in_order_with_size_and_time(root: Path) -> None:
    second = touch(root / "b.jpg", 7)
    touch(root / "a.jpg", 3)
    touch(root / "sub" / "c.mp3")
    folders = list(walk([root]))
    assert [folder.path for folder in folders] == [os.fsencode(root), os.fsencode(root / "sub")]
    assert [file.name for file in folders[0].files] == [b"a.jpg", b"b.jpg"]
    assert folders[0].files[1] == (b"b.jpg", 7, second.stat().st_mtime_ns)
    assert all(folder.whole for folder in folders)


def test_an_empty_file_is_seen_so_that_it_can_be_listed_as_failed(root: Path) -> None:
    touch(root / "empty.jpg", 0)
    assert names(root) == ["empty.jpg"]


def test_what_is_skipped_is_counted_by_its_reason(root: Path) -> None:
    for name in ("a.jpg", "a.jpg.xmp", "notes.txt", ".DS_Store", "desktop.ini", "a.mp4.part"):
        touch(root / name)
    for folder in ("@eaDir", ".git", "$RECYCLE.BIN"):
        touch(root / folder / "a.jpg")
    (folder,) = walk([root])
    assert [file.name for file in folder.files] == [b"a.jpg"]
    assert folder.skipped == {"sidecar": 1, "unsupported": 1, "hidden": 2, "system": 3, "unfinished": 1}
    assert folder.endings == {".txt": 1}


def test_a_file_whose_status_cannot_be_read_costs_that_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        touch(root / name)
    scandir = os.scandir

    class Failing:
        """An entry of a failing disk: what the kernel says of it is an error."""

        def __init__(self, entry: os.DirEntry[bytes]) -> None:
            self.name, self.path = entry.name, entry.path

        def is_dir(self, follow_symlinks: bool = True) -> bool:
            return False

        is_symlink = is_dir

        def stat(self, follow_symlinks: bool = True) -> os.stat_result:
            raise OSError(5, "Input/output error")

    @contextmanager
    def listing(path: bytes) -> Iterator[list[object]]:
        with scandir(path) as entries:
            yield [Failing(entry) if entry.name == b"b.jpg" else entry for entry in entries]

    monkeypatch.setattr(os, "scandir", listing)
    (folder,) = walk([root])
    assert [file.name for file in folder.files] == [b"a.jpg", b"c.jpg"]
    assert folder.errors == [(os.fsencode(root / "b.jpg"), "Input/output error")]
    assert not folder.whole


@pytest.mark.parametrize("year", [1, 1600, 1969, 2300, 9999])
def test_a_time_that_sqlite_cannot_hold_becomes_the_nearest(root: Path, year: int) -> None:
    seconds = int((year - 1970) * 365.25 * 86400)
    try:
        os.utime(touch(root / "a.jpg"), (0, seconds))
    except OSError:
        pytest.skip("this file system holds no such time")
    (folder,) = walk([root])
    assert -(2**63) <= folder.files[0].mtime_ns < 2**63


def test_a_pattern_with_a_slash_at_its_end_excludes_folders_only(root: Path) -> None:
    touch(root / "Scans" / "a.jpg")
    touch(root / "sub" / "Scans" / "a.jpg")
    touch(root / "sub" / "b.jpg")
    (root / "other").mkdir()
    touch(root / "other" / "Scans")
    folders = list(walk([root], ["Scans/"]))
    assert [file.name for folder in folders for file in folder.files] == [b"Scans", b"b.jpg"]
    assert set().union(*(folder.excluded_by for folder in folders)) == {"Scans/"}


def test_links_pipes_and_sockets_are_skipped_and_counted(root: Path) -> None:
    outside = touch(root.parent / "outside" / "secret.jpg")
    touch(root / "a.jpg")
    (root / "loop").symlink_to(root)
    (root / "out.jpg").symlink_to(outside)
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s.jpg"))
        (folder,) = walk([root])
    assert [file.name for file in folder.files] == [b"a.jpg"]
    assert folder.skipped == {"link": 2, "special": 2}


def test_a_root_may_be_a_link(root: Path) -> None:
    touch(root / "a.jpg")
    (root.parent / "link").symlink_to(root)
    assert names(root.parent / "link") == ["a.jpg"]


def test_a_root_may_be_a_file_whatever_its_name(root: Path) -> None:
    file = touch(root / ".odd.xyz")
    (folder,) = walk([file])
    assert (folder.path, folder.files[0].name, folder.whole) == (os.fsencode(root), b".odd.xyz", False)


def test_a_root_inside_another_is_walked_once(root: Path) -> None:
    touch(root / "sub" / "a.jpg")
    assert names(root, root / "sub", root) == ["a.jpg"]


def test_globs_exclude_names_and_paths(root: Path) -> None:
    for name in ("a.jpg", "a.png", "raw/b.jpg", "keep/raw/c.jpg"):
        touch(root / name)
    assert names(root, exclude=("*.png", "raw/*")) == ["a.jpg", "c.jpg"]
    assert names(root, exclude=("raw",)) == ["a.jpg", "a.png"]


def test_a_root_that_is_not_there_is_an_error_of_its_own(root: Path) -> None:
    touch(root / "a.jpg")
    missing, there = walk([root / "gone", root])
    assert missing.errors == [(os.fsencode(root / "gone"), "No such file or directory")]
    assert not missing.whole
    assert [file.name for file in there.files] == [b"a.jpg"]


def test_names_that_are_no_text_survive(root: Path) -> None:
    with open(os.path.join(os.fsencode(root), b"gr\xfc\xdfe.jpg"), "wb") as file:
        file.write(b"x")
    (folder,) = walk([root])
    assert folder.files[0].name == b"gr\xfc\xdfe.jpg"


def test_an_unreadable_folder_is_named_and_the_walk_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(root / "closed" / "a.jpg")
    touch(root / "open" / "b.jpg")
    scandir = os.scandir

    def refuse(path: bytes) -> object:  # root may read anything, so the refusal itself is made
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    folders = {folder.path.split(b"/")[-1]: folder for folder in walk([root])}
    assert folders[b"closed"].errors == [(os.fsencode(root / "closed"), "Permission denied")]
    assert not folders[b"closed"].whole
    assert [file.name for file in folders[b"open"].files] == [b"b.jpg"]
