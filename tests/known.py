"""A home with a catalog of every kind of file, made without a worker, and the command line on it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from mediaflow.catalog import assets, findings, locations, runs, work
from mediaflow.catalog.database import connect, transaction
from mediaflow.catalog.locations import Candidate
from tests.installation import ROOT

FOLDER = b"/pile"
YEAR_2020 = 1_590_000_000  # 2020-05-20
SPEECH = [{"start": 0.0, "end": 1.5, "text": "Guten Tag"}]
ODD = ["İstanbul 😀.png".encode(), b"caf\xe9.png", b"\xffx.png", "Müller ₂.png".encode()]


def build(home: Path) -> Path:
    """Enter the files in a new catalog in `home`; the home."""
    home.mkdir(parents=True, exist_ok=True)
    with closing(connect(home / "catalog.sqlite")) as db, transaction(db):
        run = runs.begin(db, "default", [FOLDER], ["ocr", "transcribe"])
        for number, name in enumerate(ODD):
            _done(db, run, name, f"{number:064x}", {"width": 1, "height": 1, "format": "PNG"})
        _done(db, run, b"taken.jpg", "a1" * 32, {"format": "JPEG", "taken": "2024-12-31T23:30:00"})
        _done(db, run, b"half.jpg", "a2" * 32, {"format": "JPEG", "warning": "damaged: about half of it"})
        asset = _done(db, run, b"talk.mp3", "b1" * 32, {"format": "mp3", "seconds": 61.5}, "audio")
        findings.store(db, asset, "transcribe", "m", {"language": "de", "text": "", "segments": SPEECH}, 1.0)
        work.finish(db, asset, "transcribe", "m")
        _done(db, run, b"copy.png", f"{0:064x}", {}, library="scans", folder=b"/scans")
        [failed] = _enter(db, run, b"broken.png")
        locations.failed(db, failed, "a damaged PNG image", permanent=True)
        asset = _done(db, run, b"unread.png", "c1" * 32, {})
        work.fail(db, asset, "ocr", "m", "out of memory", permanent=True)
        [text] = _enter(db, run, b"lost-ending")
        locations.skip(db, text, "not a media file (text)")
        _enter(db, run, b"queued.png")
        _done(db, run, b"gone.png", "d1" * 32, {})
        locations.mark_gone(db, "default", FOLDER, [b"gone.png"])
    return home


def _enter(db: Any, run: int, name: bytes, library: str = "default", folder: bytes = FOLDER) -> list[int]:
    file = Candidate(folder, name, 2_000, YEAR_2020 * 10**9, None)
    return locations.enqueue(db, library, run, "job", [file])


def _done(
    db: Any,
    run: int,
    name: bytes,
    hash: str,
    media: dict[str, Any],
    kind: str = "image",
    library: str = "default",
    folder: bytes = FOLDER,
) -> int:
    [id] = _enter(db, run, name, library, folder)
    asset = assets.add(db, hash, kind, 2_000, media)
    locations.prepared(db, id, asset)
    return asset


def run(
    home: Path,
    *arguments: str | bytes,
    stdin: bytes = b"",
    prefix: tuple[str, ...] = (),
    after: str = "",
    **variables: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line on `home`, in a shell that redirects it as `after` says; what came is bytes."""
    command = [*prefix, sys.executable, "-m", "mediaflow", *arguments]
    return subprocess.run(
        ["bash", "-c", f'"$@" {after}; exit ${{PIPESTATUS[0]}}', "bash", *command],
        input=stdin,
        capture_output=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | {"MEDIAFLOW_HOME": str(home)} | variables,
        check=False,
    )


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What it said on standard error."""
    return done.stderr.decode(errors="replace")
