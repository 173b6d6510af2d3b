"""Downloads: cuts, servers of all kinds, and who is told a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from models_server import Server, serve

from mediaflow.models import download as downloads
from mediaflow.models.download import Client, NoRangesError, SourceError, UnreachableSource, download

CONTENT = bytes(range(256)) * 1024  # 256 KiB


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as state:
        state.files["/file"] = CONTENT
        yield state


def ignore(_: float) -> None:
    pass


def test_a_download_that_is_cut_again_and_again_is_completed(server: Server, tmp_path: Path) -> None:
    server.cut_after = 50_000
    shares: list[float] = []
    download(Client(), f"{server.url}/file", tmp_path / "file", shares.append, length=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.requests) == 6
    assert server.sent == len(CONTENT)  # no byte twice
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_was_there_before_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(CONTENT[:100_000])
    download(Client(), f"{server.url}/file", tmp_path / "file", ignore)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - 100_000
    assert not (tmp_path / "file.partial").exists()


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.partial").write_bytes(b"?" * 1000)
    download(Client(), f"{server.url}/file", tmp_path / "file", ignore, length=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_span_of_a_file_is_fetched_alone(server: Server, tmp_path: Path) -> None:
    download(Client(), f"{server.url}/file", tmp_path / "file", ignore, start=1000, length=2000)
    assert (tmp_path / "file").read_bytes() == CONTENT[1000:3000]
    assert server.sent == 2000


def test_a_span_cannot_be_had_without_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    with pytest.raises(NoRangesError):
        download(Client(), f"{server.url}/file", tmp_path / "file", ignore, start=1000, length=2000)


def test_a_partial_file_that_is_too_long_is_not_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(b"?" * (len(CONTENT) + 1))
    download(Client(), f"{server.url}/file", tmp_path / "file", ignore, length=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_larger_than_pinned_is_not_filled_onto_the_disk(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    with pytest.raises(SourceError, match="larger than 10 bytes"):
        download(Client(), f"{server.url}/file", tmp_path / "file", ignore, length=10)
    assert (tmp_path / "file.partial").stat().st_size < len(CONTENT)


def test_a_missing_file_is_told_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="HTTP 404"):
        download(Client(), f"{server.url}/nothing", tmp_path / "file", ignore)
    assert len(server.requests) == 1


def test_a_host_that_does_not_answer_is_not_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_answers", {})
    for _ in range(2):
        with pytest.raises(UnreachableSource, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
            download(Client(), "http://127.0.0.1:9/file", tmp_path / "file", ignore)
    assert len(downloads._answers) == 1


def test_a_name_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableSource, match="cannot be reached"):
        download(Client(), "http://nowhere.invalid/file", tmp_path / "file", ignore)


def test_a_login_stays_with_its_host_when_redirected(server: Server, tmp_path: Path) -> None:
    with serve() as other:
        other.files["/elsewhere"] = CONTENT
        server.redirects["/file"] = f"{other.url.replace('127.0.0.1', 'localhost')}/elsewhere"
        address = server.url.replace("http://", "http://user:secret@")
        download(Client(), f"{address}/file", tmp_path / "file", ignore)
        assert (tmp_path / "file").read_bytes() == CONTENT
        assert server.authorizations == ["Basic dXNlcjpzZWNyZXQ="]
        assert other.authorizations == [None]
