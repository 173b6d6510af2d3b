"""Folders and ports of another user: the message names whose it is, and what to set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mediaflow.access import denial, denied
from tests.known import run, said

pytestmark = pytest.mark.slow
NOT_OURS = 65534  # nobody
# Root may read everything; without these rights it is like any other user.
RIGHTS = "-dac_override,-dac_read_search,-fowner,-net_bind_service"


@pytest.fixture(scope="module")
def prefix() -> tuple[str, ...]:
    """What makes the command line one that another user's files are closed to."""
    if os.geteuid():
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    return ("setpriv", f"--bounding-set={RIGHTS}")


def close(folder: Path) -> Path:
    """Have the folder belong to another user, where this one may give it away, and closed."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700 if os.geteuid() == 0 else 0)
    if os.geteuid() == 0:
        os.chown(folder, NOT_OURS, NOT_OURS)
    return folder


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    return close(tmp_path / "closed")


@pytest.mark.parametrize(
    "command",
    ["status", "list", "search x", "show /x", "runs", "failures", "export", "index rebuild", "up", "down",
     "dashboard", "worker prepare", "models verify blazeface", "doctor"],
)  # fmt: skip
def test_a_home_of_another_user_is_told(closed: Path, prefix: tuple[str, ...], command: str) -> None:
    done = run(closed, *command.split(), prefix=prefix, MEDIAFLOW_MODELS=str(closed / "models"))
    assert done.returncode == 3, said(done)
    message = said(done)
    assert str(closed) in message
    assert "permission denied" in message
    assert "Traceback" not in message
    assert "PermissionError" not in message
    assert "Set MEDIAFLOW_HOME" in message
    if os.geteuid() == 0:
        assert "belongs to nobody" in message


def test_models_of_another_user_are_not_missing_but_closed(
    closed: Path, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    for command in (["models", "list"], ["models", "pull", "blazeface"], ["submit", str(tmp_path)]):
        done = run(tmp_path / "home", *command, prefix=prefix, MEDIAFLOW_MODELS=str(closed))
        assert done.returncode == 3, command
        assert "permission denied" in said(done), command
        assert "Set MEDIAFLOW_MODELS" in said(done), command


def test_settings_of_another_user_are_told(closed: Path, prefix: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path / "home", "search", "x", prefix=prefix, MEDIAFLOW_CONFIGS=str(closed))
    assert done.returncode == 2
    assert "Permission denied" in said(done)
    assert "MEDIAFLOW_CONFIGS" in said(done)


def test_subtitles_into_a_folder_of_another_user_are_refused(
    closed: Path, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    from tests.known import build

    home = build(tmp_path / "known")
    for out in (closed, closed / "new"):
        done = run(home, "export", "--format", "srt", "--out", str(out), prefix=prefix)
        assert done.returncode == 2
        why = f"--out {out} cannot be used: Permission denied. Nothing was written."
        assert said(done) == f"mediaflow: {why}\n"


def test_a_port_that_cannot_be_used_is_told_before_it_is_said_to_be_on(
    home: Path, prefix: tuple[str, ...], server: str
) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        reasons = {taken.getsockname()[1]: (3, "is taken"), 0: (2, "greater"), 70000: (2, "less")}
        if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 80:
            reasons[80] = (3, "permission denied")
        for port, (status, why) in reasons.items():
            done = run(home, "dashboard", "--port", str(port), prefix=prefix, MEDIAFLOW_REDIS_URL=server)
            assert done.returncode == status, said(done)
            assert why in said(done)
            assert "http://" not in said(done)


def test_what_is_not_there_is_not_denied(tmp_path: Path) -> None:
    assert not denied(tmp_path / "new" / "catalog.sqlite")
    (tmp_path / "file").write_text("x")
    assert not denied(tmp_path / "file")


def test_the_owner_of_a_closed_folder_is_told_to_change_its_permissions(home: Path) -> None:
    assert "belongs to" not in denial(home / "catalog.sqlite")
    assert "Set MEDIAFLOW_HOME" in denial(home / "catalog.sqlite")
    assert "Set" not in denial("/elsewhere\x1b[2J")
    assert "\x1b" not in denial("/elsewhere\x1b[2J")
