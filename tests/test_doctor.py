"""The doctor: each damage is made for real, found, repaired, and is gone when it looks again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from mediaflow.catalog import assets, findings, locations, passages, work
from mediaflow.catalog.database import catalog_path, connect, transaction
from mediaflow.catalog.locations import Candidate
from mediaflow.catalog.passages import Passage
from mediaflow.index import snapshot
from mediaflow.lifeline import runs
from mediaflow.media import cache
from mediaflow.media.prepare import make_rendition
from mediaflow.ops import doctor
from mediaflow.ops.doctor.report import Finding
from mediaflow.queues import append_only, connection, embedded
from mediaflow.settings import load_settings
from tests.conftest import missing
from tests.installation import ROOT, answer, mediaflow, until
from tests.test_index import SPACE, unit


def looked(*, dry_run: bool = False) -> list[Finding]:
    """What the doctor finds, without what all is well about."""
    return [finding for finding in doctor.examine(dry_run=dry_run) if finding.state != "ok"]


@pytest.fixture
def asset(colours: Path, tmp_path: Path) -> str:
    """The hash of a picture of which everything is known and right: rendition, findings, text, vectors."""
    original = tmp_path / "x.png"
    Image.effect_noise((64, 48), 50).convert("RGB").save(original)
    hash = hashlib.sha256(original.read_bytes()).hexdigest()
    rendition = make_rendition(str(original), cache.rendition_folder(hash), load_settings())
    with closing(connect()) as db, transaction(db):
        file = Candidate(os.fsencode(tmp_path), b"x.png", 10, 1, None)
        [id] = locations.enqueue(db, "default", 1, "job", [file])
        asset = assets.add(db, hash, "image", 10, {})
        locations.prepared(db, id, asset)
        cache.made(db, asset, cache.size_of(rendition))
        for task in ("look", "ocr"):
            findings.store(db, asset, task, "m", {"lines": []}, 1.0)
            work.finish(db, asset, task, "m")
        passages.replace(db, asset, "ocr", [Passage("Rechnung")])
        rows = [("picture", n, None, None, value) for n, value in enumerate(unit(20))]
        findings.store_vectors(db, asset, SPACE, ["picture"], rows)
    with closing(connect()) as db:
        snapshot.build(db, SPACE)
    return hash


def change(*statements: str) -> None:
    """Change the catalog behind its back: constraints and triggers are those of whoever did it."""
    with closing(sqlite3.connect(catalog_path(), isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def index_folder() -> Path:
    return snapshot.space_folder(SPACE)


def the_snapshot() -> Path:
    [file] = index_folder().glob("*.faiss")
    return file


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 255]))


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def folder_of(name: str, age: float = 0.0) -> Path:
    folder = cache.rendition_folder(name)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def leave_marks() -> None:
    folder = catalog_path().parent / "run"
    folder.mkdir(exist_ok=True)
    for name in ("ready", "take-down"):
        (folder / name).touch()


DAMAGES: dict[str, tuple[Callable[[str], object], str, str]] = {
    "a snapshot cut short": (lambda _: cut(the_snapshot()), "index", "cut short"),
    "a snapshot with a wrong byte": (lambda _: flip(the_snapshot(), 200), "index", "SHA-256"),
    "a snapshot of another catalog": (
        lambda _: change("UPDATE identity SET catalog = 'other'"),
        "index",
        "of another catalog",
    ),
    "a snapshot half made": (
        lambda _: (index_folder() / "index.partial").write_bytes(b"x"),
        "index",
        "left by a crash",
    ),
    "a file that no snapshot names": (
        lambda _: (index_folder() / "7-7.faiss").write_bytes(b"x"),
        "index",
        "left by a crash",
    ),
    "a snapshot of a space that is not there": (
        lambda _: index_folder().rename(index_folder().with_name("other")),
        "index",
        "other",
    ),
    "an index of words without its words": (
        lambda _: change("DELETE FROM passages_words"),
        "catalog",
        "passages_words",
    ),
    "names without their words": (
        lambda _: change("DELETE FROM names_words"),
        "catalog",
        "names_words",
    ),
    "findings of nothing": (
        lambda _: change("INSERT INTO findings VALUES (99, 'look', 'm', '{}', 1, 1)"),
        "catalog",
        "without their asset",
    ),
    "work of nothing": (
        lambda _: change(
            "INSERT INTO work (asset, task, model, state, changed) VALUES (99, 'look', 'm', 'done', 1)"
        ),
        "catalog",
        "without their asset",
    ),
    "an asset that no file holds": (
        lambda _: change("UPDATE locations SET asset = NULL, state = 'failed', permanent = 1"),
        "ledger",
        "no file holds",
    ),
    "done without a finding": (
        lambda _: change("DELETE FROM findings WHERE task = 'look'"),
        "ledger",
        "nothing found",
    ),
    "a finding that is not done": (
        lambda _: change("UPDATE work SET state = 'failed', permanent = 1, reason = 'x'"),
        "ledger",
        "written down",
    ),
    "passages without a finding": (
        lambda _: change("DELETE FROM findings WHERE task = 'ocr'", "DELETE FROM work WHERE task = 'ocr'"),
        "ledger",
        "passage",
    ),
    "vectors without a passage": (
        lambda _: change(
            "INSERT INTO vectors (asset, space, source, ordinal, value)"
            " SELECT asset, space, 'speech', 3, value FROM vectors LIMIT 1"
        ),
        "ledger",
        "vector",
    ),
    "work of a task that is gone": (
        lambda _: change(
            "UPDATE work SET task = 'astrology', state = 'wanted' WHERE task = 'ocr'",
            "DELETE FROM findings WHERE task = 'ocr'",
            "DELETE FROM passages",
        ),
        "ledger",
        "settings do not know",
    ),
    "a rendition that is not on the disk": (
        lambda asset: cache.remove(asset, thumbnail=True),
        "renditions",
        "not on the disk",
    ),
    "a rendition that is not in the catalog": (
        lambda asset: (
            change("UPDATE assets SET rendition_bytes = 0"),
            os.utime(cache.rendition_folder(asset), (1, 1)),
        ),
        "renditions",
        "not in the catalog",
    ),
    "a rendition with an empty picture": (
        lambda asset: os.truncate(cache.rendition_folder(asset) / "page-0001.jpg", 0),
        "renditions",
        "damaged",
    ),
    "a rendition with half a manifest": (
        lambda asset: cut(cache.rendition_folder(asset) / "manifest.json"),
        "renditions",
        "damaged",
    ),
    "a rendition of a file that is not known": (
        lambda _: folder_of("00" * 32, 7200),
        "renditions",
        "not known",
    ),
    "a rendition half made by a dead process": (
        lambda asset: folder_of(f"{asset}.partial-{dead_pid()}"),
        "renditions",
        "half made",
    ),
    "a mark of an up that was killed": (
        lambda _: leave_marks(),
        "processes",
        "killed",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_told_then_repaired_then_gone(asset: str, damage: str) -> None:
    assert looked() == []
    make, check, words = DAMAGES[damage]
    make(asset)
    told = looked(dry_run=True)
    assert (told[0].check, {finding.state for finding in told}) == (check, {"problem"})
    assert any(words in finding.what for finding in told), told
    assert looked(dry_run=True) == told, "a dry run changes nothing"
    repaired = looked()
    assert {(finding.check, finding.state) for finding in repaired} == {(check, "repaired")}
    assert any(words in finding.what for finding in repaired), repaired
    assert looked() == []


def test_what_is_lost_is_wanted_again_and_what_is_right_is_kept(asset: str) -> None:
    change("DELETE FROM findings WHERE task = 'look'")
    doctor.examine()
    with closing(connect()) as db:
        states = dict(db.execute("SELECT task, state FROM work").fetchall())
        assert states == {"look": "wanted", "ocr": "done"}
        assert db.execute("SELECT COUNT(*) FROM vectors").fetchone()[0] == 20
    assert cache.thumbnail_path(asset).exists()


def test_what_others_are_at_work_on_is_left_alone(asset: str) -> None:
    """A living process's rendition, one published a moment ago, and an asset whose file is read anew."""
    making = folder_of(f"{'11' * 32}.partial-{os.getpid()}", 7200)
    published = folder_of("22" * 32, 60)
    change("UPDATE locations SET asset = NULL, state = 'queued'")
    with (index_folder() / "index.partial").open("wb"), snapshot.alone(index_folder()):
        assert looked() == []
    assert making.exists()
    assert published.exists()
    with closing(connect()) as db:
        assert assets.by_hash(db, asset) is not None


def test_pruned_renditions_and_their_thumbnails_are_well(asset: str) -> None:
    with closing(connect()) as db:
        assert cache.prune(db, load_settings().renditions.model_copy(update={"days": 0.0})) == 1
    assert looked() == []
    assert cache.thumbnail_path(asset).exists()


def test_a_catalog_that_cannot_be_saved_is_left_and_a_person_told(asset: str) -> None:
    with closing(connect()) as db, transaction(db):
        for number in range(3000):
            locations.enqueue(db, "default", 1, "j", [Candidate(b"/a", b"%d" % number, 1, 1, None)])
    size = catalog_path().stat().st_size
    with catalog_path().open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))
    [finding] = looked()
    assert (finding.check, finding.state) == ("catalog", "problem")
    assert finding.next is not None
    assert "backup" in finding.next
    assert catalog_path().stat().st_size == size


def test_an_index_of_the_catalog_that_lacks_rows_is_made_anew(asset: str) -> None:
    name = "name = 'vectors_asset'"
    with closing(sqlite3.connect(catalog_path(), isolation_level=None)) as db:
        row = db.execute(f"SELECT * FROM sqlite_master WHERE {name}").fetchone()
    change("PRAGMA writable_schema = ON", f"DELETE FROM sqlite_master WHERE {name}")
    change("DELETE FROM vectors WHERE id > 18")
    with closing(sqlite3.connect(catalog_path(), isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    [finding] = looked()
    assert (finding.state, finding.check) == ("repaired", "catalog")
    assert looked() == []


def test_wrong_settings_do_not_keep_it_from_the_rest(asset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(the_snapshot())
    monkeypatch.setenv("MEDIAFLOW_PREPARE__WORKERS", "many")
    load_settings.cache_clear()
    states = {finding.check: finding.state for finding in looked()}
    assert states == {"settings": "problem", "index": "repaired"}


@pytest.mark.parametrize("rights", [0o707, 0o702])
def test_a_home_that_others_may_write_is_a_problem(asset: str, rights: int) -> None:
    catalog_path().parent.chmod(rights)
    [finding] = looked()
    assert (finding.check, finding.next is not None) == ("home", True)


def test_renditions_that_may_outgrow_the_disk_are_a_problem(
    asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_RENDITIONS__GIGABYTES", "1000000000")
    load_settings.cache_clear()
    assert [finding.check for finding in looked()] == ["disk"]


def test_models_are_missed_and_with_models_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "none"))
    [finding] = looked()
    assert finding.check == "models"
    assert str(finding.next).startswith("mediaflow models pull ")


@pytest.mark.slow
def test_a_model_with_a_wrong_byte_is_found_when_it_is_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from mediaflow.models.registry import find_model
    from mediaflow.settings import models_home

    here = models_home()
    if not (here / "open-nsfw").is_dir():
        missing(f"the models are not in {here}")
    (tmp_path / "models").mkdir()
    for folder in here.iterdir():
        if folder.is_dir():
            (tmp_path / "models" / folder.name).symlink_to(folder)
    (tmp_path / "models" / "open-nsfw").unlink()
    shutil.copytree(here / "open-nsfw", tmp_path / "models" / "open-nsfw")
    flip(tmp_path / "models" / "open-nsfw" / find_model("open-nsfw").files[0].name, 1000)
    monkeypatch.setenv("MEDIAFLOW_MODELS", str(tmp_path / "models"))
    assert looked() == []
    wrong = [finding for finding in doctor.examine(models=True) if finding.state != "ok"]
    assert [finding.check for finding in wrong] == ["models"]
    assert "open-nsfw" in str(wrong[0].next)


# --- the queue ----------------------------------------------------------------------------------


@pytest.fixture
def stopped(colours: Path) -> Path:
    """The folder of an append-only file that Valkey wrote, and was then killed."""
    process = embedded.start()
    client = connection.connect()
    for number in range(100):
        client.set(f"key{number}", "x" * 100)
    process.kill()
    process.wait()
    connection.embedded_file().unlink()
    assert append_only.damage() is None
    return append_only.folder()


def end_with_zeros(folder: Path) -> None:
    """What a power cut leaves of a file that had just grown."""
    [file] = folder.glob("*.incr.aof")
    with file.open("ab") as opened:
        opened.write(b"\0" * 300)


def lose_the_middle(folder: Path) -> None:
    [file] = folder.glob("*.incr.aof")
    whole = file.read_bytes()
    file.write_bytes(whole[:3000] + whole[3700:])


@pytest.mark.parametrize(
    "spoil",
    [
        end_with_zeros,
        lose_the_middle,
        lambda folder: next(folder.glob("*.incr.aof")).unlink(),
        lambda folder: cut(next(folder.glob("*.base.rdb"))),
        lambda folder: (folder / "appendonly.aof.manifest").write_text(""),
    ],
    ids=["zeros", "middle", "part missing", "base cut", "manifest empty"],
)
def test_an_append_only_file_that_valkey_refuses_is_put_aside(
    stopped: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(stopped)
    [finding] = looked()
    assert (finding.check, finding.state) == ("queue", "repaired")
    assert "would not start" in finding.what
    assert looked() == []
    embedded.stop(embedded.start())


def test_an_append_only_file_whose_last_command_is_cut_is_kept(stopped: Path) -> None:
    [file] = stopped.glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 30)
    assert looked() == []
    process = embedded.start()
    try:
        assert connection.connect().dbsize() == 99
    finally:
        embedded.stop(process)


def test_files_that_valkey_did_not_finish_are_removed(stopped: Path) -> None:
    (stopped / "temp-rewriteaof-123.aof").write_bytes(b"x")
    (stopped.parent / "temp-123.rdb").write_bytes(b"x")
    [finding] = looked()
    assert (finding.check, finding.state) == ("queue", "repaired")
    assert looked() == []
    assert not append_only.leftovers()


def test_the_address_of_a_valkey_that_is_gone_is_removed(stopped: Path) -> None:
    for text in (json.dumps({"url": "redis://:x@127.0.0.1:1/0", "pid": dead_pid()}), '{"url": "red'):
        connection.embedded_file().write_text(text)
        [finding] = looked()
        assert "not running any more" in finding.what
        assert looked() == []


def test_a_valkey_without_its_up_is_stopped(colours: Path) -> None:
    process = embedded.start()
    try:
        [finding] = looked()
        assert (finding.check, finding.state) == ("queue", "repaired")
        process.wait(5)
        assert not runs(process.pid)
        assert looked() == []
    finally:
        process.kill()


def test_dead_workers_are_struck_off(redis_url: str, colours: Path) -> None:
    script = (
        "import os, signal; from mediaflow.queues.connection import connect\n"
        "from rq.worker import Worker; from mediaflow.queues.jobs import queue\n"
        "worker = Worker([queue('look', connect())], connection=connect())\n"
        "worker.register_birth(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    [finding] = looked()
    assert (finding.check, finding.state) == ("queue", "repaired")
    assert "1 worker" in finding.what
    assert looked() == []


def test_work_whose_job_is_lost_is_enqueued(redis_url: str, asset: str) -> None:
    change("UPDATE work SET state = 'wanted', job = 'run1-look-0123456789ab' WHERE task = 'look'")
    change("DELETE FROM findings WHERE task = 'look'", "UPDATE work SET model = 'look' WHERE task = 'look'")
    [told] = looked(dry_run=True)
    assert (told.check, told.state) == ("queue", "problem")
    [repaired] = looked()
    assert (repaired.check, repaired.state) == ("queue", "repaired")
    assert looked() == []


def test_an_outside_redis_that_is_away_is_a_problem_and_the_rest_is_looked_at(
    asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", "redis://127.0.0.1:1/0")
    cut(the_snapshot())
    assert {finding.check: finding.state for finding in looked()} == {"queue": "problem", "index": "repaired"}


@pytest.mark.slow
def test_a_worker_without_its_queue_is_told(asset: str) -> None:
    command = [sys.executable, "-m", "workers", "look"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            [finding] = looked()
            assert (finding.check, finding.next) == ("processes", f"kill {process.pid}")
        finally:
            process.kill()
    assert looked() == []


@pytest.mark.slow
def test_a_stopped_worker_whose_starter_has_ended_is_ended(asset: str) -> None:
    script = (
        "import os, signal; from mediaflow.ops.processes import Planned, start_worker\n"
        "process = start_worker(Planned('look', 'look')); print(process.pid)\n"
        "os.kill(process.pid, signal.SIGSTOP)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    pid = int(done.stdout)
    [told] = looked(dry_run=True)
    assert (told.check, told.state, runs(pid)) == ("processes", "problem", True)
    [finding] = looked()
    assert (finding.state, f"pid {pid}" in finding.what) == ("repaired", True)
    assert not runs(pid)
    assert looked() == []


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def damaged(asset: str) -> str:
    cut(the_snapshot())
    return asset


def test_the_command_says_in_a_line_each_what_it_found_and_did(damaged: str) -> None:
    told = mediaflow("doctor", "--dry-run")
    assert told.returncode == 3
    [line] = [line for line in told.stdout.splitlines() if "PROBLEM" in line]
    assert line.startswith("index")
    assert line.endswith("→ mediaflow doctor")
    done = mediaflow("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines() if " repaired " in line] == ["index"]
    assert "repaired" not in mediaflow("doctor").stdout


def test_the_command_answers_in_json(damaged: str) -> None:
    said = answer("doctor")
    assert said["ok"] is True
    assert {"check", "state", "what"} == set(said["findings"][0])
    assert [f["check"] for f in said["findings"] if f["state"] == "repaired"] == ["index"]


def test_it_finds_nothing_wrong_with_a_home_that_is_not_there(colours: Path) -> None:
    assert looked() == []
    assert mediaflow("doctor").returncode == 0


@pytest.mark.slow
def test_it_disturbs_nothing_that_runs(installation, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from tests.installation import paint_many

    installation.up()
    paint_many(tmp_path / "pile", 12, "cyan")
    assert mediaflow("submit", str(tmp_path / "pile")).returncode == 0
    while installation.open():
        said = answer("doctor")
        assert [f for f in said["findings"] if f["state"] != "ok"] == []
    until(lambda: not installation.open(), "all work is done")
    assert installation.states() == {"done": 12}
    assert len(installation.calls()) == 12
