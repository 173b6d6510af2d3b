"""`mediaflow export`: names made of names, folders that cannot be used, and what is said of nothing."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from mediaflow.catalog import assets, findings, locations
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate
from mediaflow.errors import StorageError, UsageError
from mediaflow.ops.subtitle_files import RESERVED, make_folder, name_of, write
from tests.known import SPEECH, build, run, said

ENDING = "0123abcd.srt"
LONG = {
    "letters": "a" * 250, "two bytes": "ü" * 125, "four bytes": "😀" * 63, "three bytes": "語" * 84,
    "decomposed": unicodedata.normalize("NFD", "ü" * 80),
}  # fmt: skip


@pytest.mark.parametrize("stem", LONG.values(), ids=LONG)
def test_a_long_name_is_cut_between_characters(stem: str) -> None:
    name = name_of(f"/pile/{stem}.mp3", ENDING)
    assert 245 < len(name.encode()) <= 255
    assert name.endswith("." + ENDING)
    assert stem.startswith(name.removesuffix("." + ENDING))
    assert len(name_of(f"/pile/{stem}.mp3", ENDING, 143).encode()) <= 143, "as eCryptfs has it"


@pytest.mark.parametrize(
    "source",
    ["/a/-rf.mp3", "/a/--help.mp3", "/a/..mp3", "/a/...", "/a/ x .mp3", "/a/a:b?c*<d>|\"e\\.mp3",
     "/a/\x1b[2J\n.mp3", os.fsdecode(b"/a/caf\xe9.mp3"), "/a/exe\u202egpm.mp3", "/a/.mp3",
     "/a/\x7f", "/a/CON .mp3"],
)  # fmt: skip
def test_a_name_of_a_name_is_harmless_on_every_disk(source: str) -> None:
    name = name_of(source, ENDING)
    assert name.endswith("." + ENDING)
    assert not name.startswith(("-", ".", " "))
    assert not RESERVED & set(name)
    assert name.isprintable()
    assert Path(name).name == name
    assert " ." not in name


def test_names_that_are_harmless_stay_what_they_are() -> None:
    assert name_of("/a/Müller & Söhne (2).v1.mp3", ENDING) == f"Müller & Söhne (2).v1.{ENDING}"


def test_a_folder_that_is_none_is_told_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    reasons = {file: "it is a file", file / "x": "Not a directory", Path("/proc/x"): "No such file"}
    for out, why in reasons.items():
        with pytest.raises(UsageError, match=why) as caught:
            make_folder(out)
        assert str(out) in str(caught.value)
    with pytest.raises(UsageError, match="File name too long"):
        make_folder(tmp_path / ("x" * 256))


def test_what_is_written_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    make_folder(out := tmp_path / "out")
    path = write(out, "/a/b.mp3", ENDING, "text \udce9")
    assert path.read_text() == "text \\udce9"
    assert write(out, "/other/b.mp3", ENDING, "newer").read_text() == "newer"
    assert list(out.iterdir()) == [path]


def test_a_full_disk_is_told_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StorageError, match=r"is full: .*b\.0123abcd\.srt cannot be written"):
        write(tmp_path, "/a/b.mp3", ENDING, "text")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = build(tmp_path_factory.mktemp("known") / "home")
    with closing(connect(home / "catalog.sqlite")) as db, transaction(db):
        for number, stem in enumerate([*LONG.values(), "-rf", "talk"]):
            file = Candidate(b"/talks", f"{stem}.mp3".encode(), 1, 1, None)
            [id] = locations.enqueue(db, "talks", 1, "job", [file])
            asset = assets.add(db, f"{number:08x}" + "e" * 56, "audio", 1, {})
            locations.prepared(db, id, asset)
            finding = {"language": "de", "text": "", "segments": SPEECH}
            findings.store(db, asset, "transcribe", "m", finding, 1.0)
    return home


@pytest.mark.slow
def test_all_recordings_get_a_file_also_those_with_long_names(known: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    done = run(known, "export", "--library", "talks", "--format", "srt", "--out", str(out))
    assert done.returncode == 0, said(done)
    written = list(out.iterdir())
    assert len(written) == len(LONG) + 2
    assert all("Guten Tag" in path.read_text() for path in written)
    assert len(said(done).splitlines()) == len(written)


@pytest.mark.slow
def test_one_file_that_cannot_be_written_costs_one_file(known: Path, tmp_path: Path) -> None:
    (tmp_path / f"talk.{len(LONG) + 1:08x}.srt").mkdir()
    done = run(known, "export", "--library", "talks", "--format", "srt", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "/talks/talk.mp3 has no subtitles written: Is a directory." in said(done)
    assert f"{len(LONG) + 1} files written, 1 failed." in said(done)
    assert sum(path.is_file() for path in tmp_path.iterdir()) == len(LONG) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (
            ["--format", "srt", "--out", "/dev/null"],
            2,
            "--out /dev/null cannot be used: it is a file",
        ),
        (["--format", "srt", "--library", "talks"], 2, "Several recordings have subtitles"),
        (["--out", "/nowhere"], 2, "--out is for subtitles"),
        (
            ["--format", "vtt", "--library", "scans"],
            0,
            "No subtitles in library 'scans': no speech",
        ),
        (["/pile/taken.jpg", "--format", "srt"], 0, "No subtitles in /pile/taken.jpg"),
    ],
)
def test_what_is_not_exported_is_told(known: Path, arguments: list[str], status: int, words: str) -> None:
    done = run(known, "export", *arguments)
    assert (done.returncode, done.stdout) == (status, b"")
    assert words in said(done)


@pytest.mark.slow
def test_the_subtitles_of_one_recording_go_through_a_pipe(known: Path) -> None:
    assert b"Guten Tag" in run(known, "export", "/pile/talk.mp3", "--format", "srt").stdout
    assert run(known, "export", "--format", "vtt").stdout.startswith(b"WEBVTT")


@pytest.mark.slow
def test_a_disk_that_is_full_is_not_taken_for_the_home(known: Path, tmp_path: Path) -> None:
    """A file system of 64 kB, of which each file takes a part."""
    script = f'mount -t tmpfs -o size=8k,nr_inodes=5 none {tmp_path} && exec "$@"'
    prefix = ("unshare", "--mount", "--map-root-user", "--user", "bash", "-c", script, "bash")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount")
    command = ["export", "--library", "talks", "--format", "srt", "--out", str(tmp_path)]
    done = run(known, *command, prefix=prefix)
    assert done.returncode == 3
    assert f"The disk {tmp_path} is full" in said(done)


@pytest.mark.slow
def test_findings_have_the_library_and_the_size_too(known: Path) -> None:
    lines = [json.loads(line) for line in run(known, "export", "/pile/talk.mp3").stdout.splitlines()]
    assert [(line["library"], line["size"]) for line in lines] == [("default", 2000)]
    assert {"path", "asset", "kind", "media", "findings"} <= set(lines[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--format", "srt", "--out", ""],
        ["export", ""],
        ["search", "--like", ""],
        ["search", "--image", ""],
        ["search", "--library", "", "words"],
        ["list", ""],
        ["show", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_or_library_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    done = run(build(tmp_path / "home"), *arguments)
    assert done.returncode == 2, said(done)
    assert "Is a shell variable unset?" in said(done)
    assert not done.stdout
