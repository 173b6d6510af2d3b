"""The queue: whether it answers, what dead workers left in it, and whether the embedded one can start."""

from __future__ import annotations

import json
import sqlite3
import time

from redis import Redis
from redis.exceptions import RedisError
from rq.worker import Worker

from mediaflow.errors import UnreachableError
from mediaflow.lifeline import runs
from mediaflow.ops.doctor.report import AGAIN, Examination, count
from mediaflow.ops.lock import Lock, holder
from mediaflow.queues import append_only
from mediaflow.queues.connection import (
    connect,
    embedded_file,
    outside_url,
    redis_url,
    without_password,
)
from mediaflow.queues.recovery import lives

STOPPING = 30.0  # seconds that it may take to write what is open
FULL = "the queue does not take what is written to it"


def examine(visit: Examination, db: sqlite3.Connection | None) -> None:
    """Look at the queue, and at the embedded one's files while it is not running."""
    with visit.part("queue"):
        if outside_url() is None:
            _examine_embedded(visit)
            if redis_url() is None:
                visit.ok("queue", "the embedded Valkey is not running (mediaflow up)")
                return
        try:
            connection = connect()
        except UnreachableError as error:
            visit.problem("queue", str(error), AGAIN)
            return
        try:
            _examine_jobs(visit, db, connection)
        except RedisError as error:
            visit.problem("queue", f"{FULL}: {error}", _next(error))
        finally:
            connection.close()
    visit.ok("queue", f"{without_password(redis_url() or '')} answers, no dead workers, no lost jobs")


def _next(error: RedisError) -> str:
    if "MISCONF" in str(error):
        return "Free some space on its disk; it goes on by itself."
    if "OOM" in str(error):
        return "Give it more memory (maxmemory), or let workers empty it."
    return "See its log."


def _examine_jobs(visit: Examination, db: sqlite3.Connection | None, connection: Redis) -> None:
    dead = [worker for worker in Worker.all(connection=connection) if not lives(worker)]

    def bury() -> None:
        for worker in dead:
            worker.register_death()

    if dead:
        visit.mend("queue", f"{count(len(dead), 'worker')} listed that ended long ago", "struck off", bury)
    if db is None or visit.settings is None:
        return
    _heal(visit, db, connection)


def _heal(visit: Examination, db: sqlite3.Connection, connection: Redis) -> None:
    from mediaflow.catalog import work
    from mediaflow.ops.heal import heal
    from mediaflow.queues.recovery import live_jobs
    from mediaflow.settings import all_queues

    if visit.dry_run:
        waited_for = work.jobs(db)
        live = live_jobs(connection, all_queues())
        if lost := [job for job in waited_for if not live.awaits(job)]:
            visit.problem(
                "queue",
                f"{count(len(lost), 'job')} that the ledger waits for in no queue",
                "mediaflow doctor",
            )
        return
    if number := heal(db, connection):
        visit.mend(
            "queue", f"{count(number, 'file')} whose work was lost or is due", "enqueued", lambda: None
        )


def _examine_embedded(visit: Examination) -> None:
    if holder("up") is not None:
        return  # it looks after its own Valkey
    with Lock("up") as lock:
        if not lock.taken:
            return
        _examine_address(visit)
        if embedded_file().exists():
            return
        if left := append_only.leftovers():
            visit.mend(
                "queue", f"{count(len(left), 'file')} that Valkey did not finish", "removed", append_only.tidy
            )
        if reason := append_only.damage():
            visit.mend(
                "queue",
                f"the embedded Valkey would not start: {reason}",
                "put aside; the catalog knows what is to be done",
                append_only.put_aside,
            )


def _examine_address(visit: Examination) -> None:
    """What `valkey.json` says of a Valkey whose `up` is gone."""
    if not embedded_file().exists():
        return
    try:
        pid = int(json.loads(embedded_file().read_text())["pid"])
    except (OSError, ValueError, LookupError, TypeError):
        pid = 0
    if pid and runs(pid):
        what = f"a Valkey (pid {pid}) runs without its mediaflow up"
        visit.mend("queue", what, "stopped", lambda: _stop(pid))
        return
    visit.mend(
        "queue",
        "the address of a Valkey that is not running any more",
        "removed",
        lambda: embedded_file().unlink(missing_ok=True),
    )


def _stop(pid: int) -> None:
    """Stop the Valkey at our address, if it is the one; another process may have its number by now."""
    try:
        with connect() as client:
            if int(client.info("server")["process_id"]) == pid:
                client.shutdown()
                _wait_for_end(pid)
    except UnreachableError:
        pass  # a pid that is another program's now
    embedded_file().unlink(missing_ok=True)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + STOPPING
    while runs(pid):
        if time.monotonic() > deadline:
            raise UnreachableError(f"Valkey (pid {pid}) does not stop; kill it.")
        time.sleep(0.05)
