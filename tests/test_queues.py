"""The queues, on the embedded Valkey and on Debian's Redis: JSON only, an allow-list, and nothing lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from redis import Redis
from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import Worker

from mediaflow.errors import UnreachableError, UsageError
from mediaflow.queues import connection, jobs, overview, recovery
from mediaflow.queues.jobs import PREPARE, AllowedJob, NewJob, RefusedJob
from mediaflow.queues.lineage import child_id


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


def put(client: Redis, *ids: str, name: str = "prepare") -> None:
    jobs.enqueue(client, name, [NewJob(id, PREPARE, (1, [1], ["ocr"]), f"job {id}") for id in ids])


def take(client: Redis, name: str = "prepare") -> str:
    """What a worker does first: the job is moved to the intermediate list."""
    taken = client.blmove(f"rq:queue:{name}", f"rq:queue:{name}:intermediate", 1, "LEFT", "RIGHT")
    return taken.decode()


def begin(client: Redis, id: str, worker: str, name: str = "prepare") -> None:
    """What a worker does next: the job is started, with its name on it."""
    from rq.executions import Execution

    queue = jobs.queue(name, client)
    job = queue.fetch_job(id)
    with client.pipeline() as pipeline:
        Execution.create(job, ttl=100, pipeline=pipeline)
        job.prepare_for_execution(worker, pipeline=pipeline)
        pipeline.lrem(IntermediateQueue(queue.key, client).key, 1, id)
        pipeline.execute()


def register(client: Redis, pid: int, name: str = "prepare", host: str | None = None) -> str:
    """A worker as Redis knows it, with the pid of some process."""
    worker = Worker([name], name=f"{name}.test.{pid}", connection=client, serializer=JSONSerializer)
    worker.register_birth()
    client.hset(worker.key, mapping={"pid": pid, "hostname": host or socket.gethostname()})
    return str(worker.name)


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_is_enqueued_is_json_and_can_be_read_by_a_person(client: Redis) -> None:
    put(client, "run1-prepare-a")
    stored = client.hgetall("rq:job:run1-prepare-a")
    import zlib

    assert json.loads(zlib.decompress(stored[b"data"])) == [PREPARE, None, [1, [1], ["ocr"]], {}]
    assert stored[b"description"] == b"job run1-prepare-a"
    assert not [key for key, value in stored.items() if value.startswith(b"\x80")], "a pickle"


def test_rq_falls_back_to_json_where_it_would_to_pickle(client: Redis) -> None:
    assert Queue("prepare", connection=client).serializer is JSONSerializer
    assert Job(connection=client).serializer is JSONSerializer
    assert Worker(["prepare"], connection=client, serializer="pickle").serializer is JSONSerializer


@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "jobs.stages.give_up", ""])
def test_a_job_that_names_another_function_is_refused(client: Redis, function: str) -> None:
    job = AllowedJob.create(function or "x", ["true"], connection=client, serializer=JSONSerializer)
    job._func_name = function
    with pytest.raises(RefusedJob, match="not a function"):
        job.perform()


def test_a_job_has_no_callback(client: Redis) -> None:
    from rq import Callback

    job = AllowedJob.create(
        PREPARE,
        connection=client,
        serializer=JSONSerializer,
        on_success=Callback("os.system"),
        on_failure=Callback("os.system"),
        on_stopped=Callback("os.system"),
    )
    for callback in ("success_callback", "failure_callback", "stopped_callback"):
        with pytest.raises(RefusedJob, match="callbacks"):
            getattr(job, callback)


def test_jobs_live_while_they_wait_are_taken_run_or_wait_to_be_stored(client: Redis) -> None:
    put(client, "waits", "taken", "runs")
    client.lrem("rq:queue:prepare", 1, "taken")
    client.rpush("rq:queue:prepare:intermediate", "taken")
    client.lrem("rq:queue:prepare", 1, "runs")
    client.rpush("rq:queue:prepare:intermediate", "runs")
    begin(client, "runs", "w")
    put(client, child_id("prepared--analysed", "store"), name="index")
    live = recovery.live_jobs(client, ["prepare", "index"])
    assert all(id in live for id in ("waits", "taken", "runs", "prepared--analysed"))
    assert "prepared--other" not in live
    assert live.awaits("runs--other"), "its maker runs: it may be enqueued yet"
    assert not live.awaits("prepared--other")
    assert not recovery.live_jobs(client, ["ocr"])


def test_the_job_of_a_worker_that_died_goes_to_the_front(client: Redis) -> None:
    put(client, "lost", "next")
    begin(client, take(client), register(client, dead_pid()))
    assert recovery.reclaim(client, ["prepare"]).waiting == 1
    assert jobs.queue("prepare", client).get_job_ids() == ["lost", "next"]
    assert StartedJobRegistry("prepare", client).get_job_ids(cleanup=False) == []
    assert recovery.reclaim(client, ["prepare"]).waiting == 0


def test_the_job_of_a_worker_that_died_between_taking_and_starting_it_is_put_back(client: Redis) -> None:
    put(client, "lost")
    register(client, dead_pid())
    take(client)
    assert recovery.reclaim(client, ["prepare"]).waiting == 1
    assert jobs.queue("prepare", client).get_job_ids() == ["lost"]


def test_what_a_living_worker_has_in_hand_is_left_to_it(client: Redis) -> None:
    put(client, "mine", "mine-soon")
    begin(client, take(client), register(client, os.getpid()))
    take(client)
    assert recovery.reclaim(client, ["prepare"]).waiting == 0
    assert jobs.queue("prepare", client).get_job_ids() == []


def test_a_worker_of_another_machine_lives_as_long_as_its_heartbeat(client: Redis) -> None:
    put(client, "far")
    name = register(client, dead_pid(), host="box.example")
    begin(client, take(client), name)
    assert recovery.reclaim(client, ["prepare"]).waiting == 0
    client.delete(f"rq:worker:{name}")
    assert recovery.reclaim(client, ["prepare"]).waiting == 1


def test_a_job_that_is_no_more_leaves_no_trace(client: Redis) -> None:
    client.rpush("rq:queue:prepare:intermediate", "ghost")
    assert recovery.reclaim(client, ["prepare"]).waiting == 0
    assert not recovery.live_jobs(client, ["prepare"])


def test_the_overview_counts_jobs_and_workers(client: Redis) -> None:
    put(client, "a", "b")
    begin(client, take(client), register(client, os.getpid()))
    serving = overview.workers(client)
    [state] = overview.queues(client, ["prepare"], serving)
    assert (state.waiting, state.running, state.failed, state.workers) == (1, 1, 0, 1)
    assert serving[0].queue == "prepare"
    assert overview.served_queues(client) == {"prepare"}


@pytest.mark.slow  # it is given a few seconds to come back
def test_a_server_that_does_not_answer_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", "redis://user:secret@127.0.0.1:1/0")
    with pytest.raises(UnreachableError, match=r"does not answer.*Start it, or unset") as refused:
        connection.connect()
    assert "secret" not in str(refused.value)


def test_without_any_server_it_says_what_to_start() -> None:
    with pytest.raises(UnreachableError, match="mediaflow up"):
        connection.connect()


def test_a_url_that_is_none_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAFLOW_REDIS_URL", "http://example.org")
    with pytest.raises(UsageError, match="MEDIAFLOW_REDIS_URL"):
        connection.connect()


def test_a_password_is_not_shown() -> None:
    assert connection.without_password("redis://:geheim@host:1/0") == "redis://:***@host:1/0"


def test_a_job_that_is_enqueued_twice_waits_once(client: Redis) -> None:
    """As after an answer that was lost on the way: who asks again must not double the work."""
    put(client, "a", "b")
    put(client, "a", "b")
    assert jobs.queue("prepare", client).get_job_ids() == ["a", "b"]
    begin(client, take(client), register(client, os.getpid()))
    put(client, "a", "b")
    assert jobs.queue("prepare", client).get_job_ids() == ["b"], "also while it runs"


def test_a_job_that_three_workers_did_not_live_to_end_is_given_up(client: Redis) -> None:
    put(client, "deadly", "next")
    for _ in range(recovery.MOST_DEATHS - 1):
        begin(client, take(client), register(client, dead_pid()))
        assert recovery.reclaim(client, ["prepare"]).waiting == 1
    begin(client, take(client), register(client, dead_pid()))
    assert recovery.reclaim(client, ["prepare"]).given_up == ["deadly"]
    assert jobs.queue("prepare", client).get_job_ids() == ["next"]
    assert "deadly" in jobs.queue("prepare", client).failed_job_registry.get_job_ids()


def test_a_job_that_was_lost_on_its_way_into_a_living_worker_is_put_back(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "TAKING_SECONDS", 0.1)
    register(client, os.getpid())
    put(client, "lost")
    take(client)  # and the answer never came
    reclaimer = recovery.Reclaimer(("prepare",))
    assert reclaimer.look(client).waiting == 0, "it may be on its way"
    time.sleep(0.2)
    assert reclaimer.look(client).waiting == 1


def test_a_worker_that_the_queue_forgot_keeps_its_job_while_it_runs(client: Redis) -> None:
    put(client, "mine")
    name = f"prepare.{socket.gethostname()}.{os.getpid()}.abc123"
    begin(client, take(client), name)
    assert recovery.reclaim(client, ["prepare"]).waiting == 0
    again = Worker(["prepare"], name=name.replace("abc123", "def456"), connection=client)
    again.register_birth()
    client.hset(again.key, mapping={"pid": os.getpid(), "hostname": socket.gethostname()})
    assert recovery.reclaim(client, ["prepare"]).waiting == 1, "it has begun anew without it"
