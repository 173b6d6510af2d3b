"""How `submit` copes with 100,000 small files: seconds, memory, and what lies in the queue.

    python -m benchmarks.scale [--files 100000] [--json]

Files are distinct PNG pictures of 8 x 8 pixels in folders of 1 to 5,000. No worker runs. For the step
"all known" the catalog is told, through its own functions, that every file was prepared and analysed.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.installation import Finished, Installation, arguments, print_answer, say

FOLDER_SIZES = (1, 20, 300, 5000, 700)
FEWER = 10  # the share of the files with which memory is compared


def make_tree(root: Path, files: int) -> None:
    """`files` distinct pictures of some 75 bytes, in folders of the sizes above, two levels deep."""
    number = 0
    for folder in _folders(root, files):
        path, size = folder
        path.mkdir(parents=True)
        for _ in range(size):
            with open(path / f"IMG_{number:06}.png", "wb") as file:
                file.write(_picture(number))
            number += 1


def _folders(root: Path, files: int) -> Iterator[tuple[Path, int]]:
    made = 0
    while files:
        size = min(files, FOLDER_SIZES[made % len(FOLDER_SIZES)])
        yield root / f"{2000 + made // 10}" / f"album {made:03}", size
        files -= size
        made += 1


def _picture(number: int) -> bytes:
    colour = bytes([number & 255, number >> 8 & 255, number >> 16 & 255])
    rows = zlib.compress((b"\0" + colour * 8) * 8, 1)
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def settle_all() -> None:
    """Tell the catalog that every file was prepared and that every default task is done or does not apply."""
    from mediaflow.catalog import assets, locations, work
    from mediaflow.catalog.database import connect, transaction
    from mediaflow.models.identity import task_model
    from mediaflow.queues.connection import connect as connect_queue
    from mediaflow.settings import load_settings

    models = {task: task_model(task) for task in load_settings().default_tasks()}
    with closing(connect()) as db, transaction(db):
        for row in db.execute("SELECT id, size FROM locations").fetchall():
            media = {"width": 8, "height": 8, "format": "PNG"}
            asset = assets.add(db, f"{row['id']:064x}", "image", row["size"], media)
            locations.prepared(db, row["id"], asset)
            for task, model in models.items():
                settle = work.skip if task == "transcribe" else work.finish
                settle(db, asset, task, model)
    connect_queue().flushdb()


def queue_mb() -> float:
    """Megabytes that the queue's server holds."""
    from mediaflow.queues.connection import connect

    return float(connect().info("memory")["used_memory"]) / 1e6


def measure(files: int) -> list[dict[str, float | str]]:
    """Each step with its seconds, processor seconds, peak memory, and the queue's memory after it."""
    steps: list[dict[str, float | str]] = []

    def step(name: str, finished: Finished, expected: str) -> None:
        if expected not in finished.output:
            raise RuntimeError(f"{name}: {expected} was expected, {finished.output} came")
        steps.append(
            {
                "step": name,
                "seconds": round(finished.seconds, 2),
                "cpu_seconds": round(finished.cpu_seconds, 2),
                "peak_mb": round(finished.peak_mb),
                "queue_mb": round(queue_mb(), 1),
            }
        )
        say(f"{name}: {finished.seconds:.1f} s")

    with Installation() as installation, installation.here(), installation.up("queue"):
        few, many = installation.folder / "few", installation.folder / "many"
        say(f"making {files:,} files")
        make_tree(few, files // FEWER)
        make_tree(many, files)
        new, none = f'"new": {files}, "known": 0', f'"new": 0, "known": {files}'
        step(f"first, {files // FEWER:,} files", installation.run("submit", str(few), "--json"), '"known": 0')
        installation.run("forget", str(few))
        step(f"first, {files:,} files", installation.run("submit", str(many), "--json"), new)
        step("again, all still queued", installation.run("submit", str(many), "--json"), none)
        start = time.monotonic()
        settle_all()
        say(f"told the catalog that all is done in {time.monotonic() - start:.0f} s")
        step("again, all known and done", installation.run("submit", str(many), "--json"), none)
        step("bare os.scandir and stat", _bare_walk(many), "")
        step("--tasks pose, of all", installation.run("submit", str(many), "--tasks", "pose", "--json"), none)
    return steps


def _bare_walk(root: Path) -> Finished:
    """The least that any look at all the files costs."""
    start, cpu = time.perf_counter(), time.process_time()
    waiting, found = [str(root)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    found += entry.stat(follow_symlinks=False).st_size
    return Finished(0, "", time.perf_counter() - start, time.process_time() - cpu, 0.0)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    steps = measure(options.files)
    head = ("submit", "seconds", "CPU s", "peak MB", "queue MB")
    keys = ("seconds", "cpu_seconds", "peak_mb", "queue_mb")
    table = [head, *((str(step["step"]), *(str(step[key]) for key in keys)) for step in steps)]
    print_answer({"files": options.files, "steps": steps}, table, options.json)


if __name__ == "__main__":
    main()
