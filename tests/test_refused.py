"""Whoever can write to Redis runs no code here and stops no worker: the job is refused, counted, kept."""

from __future__ import annotations

import json
import pickle
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue
from rq.executions import Execution
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from mediaflow.queues import connection, jobs, overview, record, recovery, refused, sweep
from mediaflow.queues.jobs import ANALYSE, PREPARE, STORE, AllowedJob, NewJob
from tests.bombs import Bomb
from tests.installation import answer, mediaflow
from workers.__main__ import ANSWER_SECONDS
from workers.bench import WorkerBench
from workers.worker import WarmWorker

pytestmark = pytest.mark.slow

HASH = "a" * 64


@pytest.fixture
def client(redis_url: str, colours: Any) -> Iterator[Redis]:
    with connection.connect() as client:
        yield client


def work(client: Redis, queue: str = "prepare") -> list[Any]:
    """A real worker does all that waits, after RQ's own maintenance; the arguments its stages were given."""
    done: list[Any] = []
    to = connection.open_connection(str(connection.redis_url()), ANSWER_SECONDS)
    worker = WarmWorker(queue, WorkerBench(queue, to))
    for name in (PREPARE, ANALYSE, STORE):
        worker.job_class.functions[name] = lambda *given: done.append(list(given))
    worker.work(burst=True, logging_level="ERROR")
    return done


def put(client: Redis, id: str = "job", queue: str = "prepare", **fields: Any) -> str:
    """A job as mediaflow writes it, with some fields of its record changed; None takes one away."""
    jobs.enqueue(client, queue, [NewJob(id, PREPARE, (1, [1], ["look"]), "a job")])
    for name, value in fields.items():
        if value is None:
            client.hdel(f"rq:job:{id}", name)
        else:
            client.hset(f"rq:job:{id}", name, value)
    return id


def data(function: Any, arguments: Any, keywords: Any = None, instance: Any = None) -> bytes:
    return zlib.compress(json.dumps([function, instance, arguments, keywords or {}]).encode())


def is_refused(client: Redis, id: str, queue: str = "prepare", count: int = 1) -> refused.Refused:
    """The job is counted, kept, in no list from which a worker takes jobs, and shown as failed."""
    assert refused.count(client) == count
    assert id not in jobs.queue(queue, client).get_job_ids()
    assert client.llen(f"rq:queue:{queue}:intermediate") == 0
    assert client.zcard(f"rq:wip:{queue}") == 0
    assert FailedJobRegistry(queue, client).get_job_ids(cleanup=False) == [id]
    kept = refused.newest(client)[0]
    assert (kept.id, kept.queue) == (id, queue)
    return kept


GOOD = [1, [1], ["look"]]
RECORDS: dict[str, dict[str, Any]] = {
    "a pickle as data": {"data": pickle.dumps((PREPARE, None, GOOD, {}))},
    "a compressed pickle as data": {"data": zlib.compress(pickle.dumps((PREPARE, None, GOOD, {})))},
    "data that is noise": {"data": b"\x00\xff\xfe" * 99},
    "data cut short": {"data": data(PREPARE, GOOD)[:-4]},
    "data that is no list": {"data": zlib.compress(b'{"a": 1}')},
    "data of three parts": {"data": zlib.compress(json.dumps([PREPARE, None, GOOD]).encode())},
    "data nested a million deep": {"data": zlib.compress(b"[" * 1_000_000)},
    "empty data": {"data": b""},
    "no data": {"data": None},
    "meta that is a pickle": {"meta": pickle.dumps({})},
    "meta that is noise": {"meta": b"\xff\xfe"},
    "meta that is a list": {"meta": b"[]"},
    "meta of a megabyte": {"meta": b"{" + b" " * 1_000_000 + b"}"},
    "a time that is none": {"created_at": "yesterday"},
    "a month that is none": {"created_at": "2026-99-01T00:00:00.000000Z"},
    "a status that is none": {"status": "dancing"},
    "no origin": {"origin": None},
    "no status": {"status": None},
    "a timeout that is no number": {"timeout": "long"},
    "a number of 5000 digits": {"result_ttl": "9" * 5000},
    "a million retries": {"retries_left": "1000000"},
    "retries after hours": {"retry_intervals": "[3600]"},
    "repetitions": {"repeats_left": "1000", "repeat_intervals": "[1]"},
    "a callback": {"success_callback_name": "os.system"},
    "a callback on failure": {"failure_callback_name": "os.system"},
    "a webhook": {"webhooks": '[{"url": "http://127.0.0.1:1/", "job_status": "finished"}]'},
    "a dependency": {"dependency_ids": '["other"]'},
    "a rate limit": {"rate_limit_key": "k", "rate_limit_concurrency": "1"},
    "a group": {"group_id": "g"},
    "a field of its own": {"surprise": "!"},
    "a huge description": {"description": "x" * 1_000_000},
    "a description that is no text": {"description": b"\xff\xfe"},
    "a worker's name that is no text": {"worker_name": b"\xff\xfe"},
}


@pytest.mark.parametrize("fields", RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_none_of_ours_is_refused_and_the_worker_goes_on(
    client: Redis, fields: dict[str, Any]
) -> None:
    put(client, "bad", **fields)
    put(client, "good")
    assert work(client) == [GOOD]
    assert is_refused(client, "bad").reason


CALLS: dict[str, tuple[Any, Any, Any, str]] = {
    "another function": ("os.system", ["true"], {}, "not a function"),
    "a function that is a list": ([PREPARE], GOOD, {}, "not a function"),
    "arguments by name": (PREPARE, GOOD, {"a": 1}, "by name"),
    "too few arguments": (PREPARE, [1], {}, "takes 3"),
    "arguments that are a text": (PREPARE, "abc", {}, "takes 3"),
    "an id that is a text": (PREPARE, [1, ["1"], ["look"]], {}, "ids.0"),
    "an id that is true": (PREPARE, [1, [True], ["look"]], {}, "ids.0"),
    "an id below one": (PREPARE, [1, [0], ["look"]], {}, "ids.0"),
    "an id that SQLite cannot hold": (PREPARE, [1, [2**63], ["look"]], {}, "ids.0"),
    "too many ids": (PREPARE, [1, [1] * 1001, ["look"]], {}, "ids"),
    "a task nobody knows": (PREPARE, [1, [1], ["../../etc"]], {}, "no task"),
    "a function of another queue": (STORE, [1, "look", "look", []], {}, "for the queue index"),
    "a task of another queue": (ANALYSE, [1, "look", "look", []], {}, "for the queue look"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_is_none_of_ours_is_refused_with_its_reason(
    client: Redis, call: tuple[Any, Any, Any, str]
) -> None:
    function, arguments, keywords, reason = call
    put(client, "bad", data=data(function, arguments, keywords))
    put(client, "good")
    assert work(client) == [GOOD]
    assert reason in is_refused(client, "bad").reason


ITEMS: dict[str, dict[str, Any]] = {
    "a path as an asset": {"asset": "../../../../etc/passwd"},
    "a hash with a line's end": {"asset": HASH + "\n"},
    "a hash in capitals": {"asset": "A" * 64},
    "another source": {"asset": HASH, "source": "elsewhere", "texts": []},
    "a key too many": {"asset": HASH, "path": "/etc/passwd"},
    "a text that is a number": {"asset": HASH, "source": "ocr", "texts": [1]},
    "an endless text": {"asset": HASH, "source": "ocr", "texts": ["x" * 20_001]},
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_item_to_analyse_must_be_an_asset(client: Redis, item: dict[str, Any]) -> None:
    jobs.enqueue(client, "look", [NewJob("bad", ANALYSE, (1, "look", "look", [item]), "")])
    jobs.enqueue(client, "look", [NewJob("good", ANALYSE, (1, "look", "look", [{"asset": HASH}]), "")])
    assert work(client, "look") == [[1, "look", "look", [{"asset": HASH}]]]
    assert "items.0" in is_refused(client, "bad", "look").reason


RESULTS: dict[str, dict[str, Any]] = {
    "an asset that is none": {"asset": "x"},
    "a reason of a megabyte": {"asset": HASH, "reason": "x" * 1_000_000, "permanent": True},
    "a reason that says not whether to try again": {"asset": HASH, "reason": "x"},
    "a key too many": {"asset": HASH, "state": "done"},
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_a_result_to_store_must_be_one(client: Redis, result: dict[str, Any]) -> None:
    jobs.enqueue(client, "index", [NewJob("bad", STORE, (1, "look", "look", [result]), "")])
    assert work(client, "index") == []
    assert "results.0" in is_refused(client, "bad", "index").reason


def test_a_job_in_another_queue_than_it_says_is_refused(client: Redis) -> None:
    put(client, "bad")
    client.rename("rq:queue:prepare", "rq:queue:look")
    assert work(client, "look") == []
    assert "in the queue prepare" in is_refused(client, "bad", "look").reason


def test_a_bomb_of_gigabytes_is_refused_without_being_inflated(client: Redis) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(1024)) + packer.flush()
    put(client, "bad", data=bomb)
    started, before = time.monotonic(), peak_mb()
    assert work(client) == []
    assert "larger than" in is_refused(client, "bad").reason
    assert peak_mb() - before < 4 * record.LONGEST / 1e6
    assert time.monotonic() - started < 10


def peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def test_a_record_that_is_a_text_is_refused(client: Redis) -> None:
    put(client, "bad")
    client.delete("rq:job:bad")
    client.set("rq:job:bad", "nonsense")
    put(client, "good")
    assert work(client) == [GOOD]
    assert "WRONGTYPE" in is_refused(client, "bad").reason


@pytest.mark.parametrize("place", ["queue", "intermediate", "started"])
@pytest.mark.parametrize("id", [b"a b", b"\xff\xfe", b"", b"x" * 300, "ü".encode(), b"a\nb", b"[red]"])
def test_an_id_that_is_none_is_refused_wherever_it_stands(client: Redis, id: bytes, place: str) -> None:
    if place == "started":
        client.zadd("rq:wip:prepare", {id: 1})
    else:
        client.rpush(f"rq:queue:prepare{':intermediate' if place == 'intermediate' else ''}", id)
    put(client, "good")
    assert jobs.queue("prepare", client).get_job_ids() == ["good"]
    assert work(client) == [GOOD]
    assert client.llen("rq:queue:prepare") + client.llen("rq:queue:prepare:intermediate") == 0
    assert client.zcard("rq:wip:prepare") == 0
    assert refused.count(client) == 1
    assert refused.newest(client)[0].id.isascii()


def test_a_queue_without_a_name_is_swept_away(client: Redis) -> None:
    client.sadd("rq:queues", b"\xff\xfe", "x")
    sweep.sweep(client, ["prepare"])
    assert Queue.all(client) == []


def test_what_a_dead_worker_left_is_refused_by_those_who_clean_up(client: Redis) -> None:
    put(client, "taken", meta=pickle.dumps({}))
    put(client, "started", created_at="never")
    client.rename("rq:queue:prepare", "rq:queue:prepare:intermediate")
    client.zadd("rq:wip:prepare", {"started:execution": 1})
    recovery.reclaim(client, ["prepare"])
    assert refused.count(client) == 2
    assert not recovery.live_jobs(client, ["prepare"])
    assert client.llen("rq:queue:prepare:intermediate") + client.zcard("rq:wip:prepare") == 0


def test_a_job_that_claims_to_have_been_abandoned_is_refused_by_rqs_own_cleaning(client: Redis) -> None:
    for id in ("bad", "dependent"):
        put(client, id, status="started", success_callback_name="os.system")
    put(client, "fine", status="started")
    client.delete("rq:queue:prepare")
    client.zadd("rq:wip:prepare", {"bad:x": 1, "fine:x": 1})
    client.sadd("rq:job:fine:dependents", "dependent", b"\xff")
    client.hset("rq:job:fine", "retries_left", "0")
    assert work(client) == []
    assert refused.count(client) == 1
    assert client.hget("rq:job:fine", "status") == b"failed"


def test_dependents_that_somebody_forged_are_left_alone(client: Redis) -> None:
    put(client, "good")
    put(client, "evil", queue="look")
    client.delete("rq:queue:look")
    client.sadd("rq:job:good:dependents", "evil", b"\xff\xfe")
    put(client, "next")
    assert work(client) == [GOOD, GOOD]
    assert client.llen("rq:queue:look") == 0


POISON: dict[str, Callable[[Redis], Any]] = {
    "a queue that is a text": lambda c: c.set("rq:queue:prepare", "x"),
    "an intermediate list that is a text": lambda c: c.set("rq:queue:prepare:intermediate", "x"),
    "a registry that is a list": lambda c: c.rpush("rq:wip:prepare", "x"),
    "failed jobs that are a text": lambda c: c.set("rq:failed:prepare", "x"),
    "finished jobs that are a hash": lambda c: c.hset("rq:finished:prepare", "a", "b"),
    "workers that are a text": lambda c: c.set("rq:workers", "x"),
    "workers of a queue that are a text": lambda c: c.set("rq:workers:prepare", "x"),
    "a worker without a name": lambda c: c.sadd("rq:workers", b"\xff\xfe"),
    "a worker of another name": lambda c: c.sadd("rq:workers", "rq:job:x"),
    "a worker that is a text": lambda c: (c.sadd("rq:workers", "rq:worker:x"), c.set("rq:worker:x", "x")),
    "a worker whose pid is none": lambda c: worker(c, pid="x"),
    "a worker born never": lambda c: worker(c, birth="never"),
    "a worker that is no text": lambda c: worker(c, hostname=b"\xff\xfe"),
    "ready jobs without a name": lambda c: c.zadd("rq:ready:prepare", {b"\xff\xfe": 1}),
    "a rate limit without a name": lambda c: c.sadd("rq:rl-keys", b"\xff\xfe"),
    "a queue without a name": lambda c: c.sadd("rq:queues", b"\xff\xfe", "x"),
    "a group without a name": lambda c: c.sadd("rq:groups", b"\xff\xfe"),
    "refused jobs that are a text": lambda c: c.set(refused.LIST, "x"),
    "refused jobs that cannot be counted": lambda c: c.set(refused.COUNT, "x"),
    "a refused job that is none": lambda c: c.rpush(refused.LIST, b"\xff", "[]", "{}", '"x"'),
}


def worker(client: Redis, **record: Any) -> None:
    client.sadd("rq:workers", "rq:worker:forged")
    client.sadd("rq:workers:prepare", "rq:worker:forged")
    client.hset("rq:worker:forged", mapping=record)


@pytest.mark.parametrize("plant", POISON.values(), ids=POISON)
def test_keys_that_rq_cannot_read_stop_neither_workers_nor_status(
    client: Redis, plant: Callable[[Redis], Any], request: pytest.FixtureRequest
) -> None:
    plant(client)
    [state] = overview.queues(client, ["prepare"], overview.workers(client))
    assert (state.waiting, state.running, state.workers) == (0, 0, 0)
    plant(client)
    assert recovery.reclaim(client, ["prepare"]).waiting == 0
    put(client, "bad", data=b"x")
    put(client, "good")
    if "a queue that is" not in request.node.name:
        plant(client)
    assert work(client) == [GOOD]
    assert refused.count(client) >= 1
    assert refused.newest(client)[0].id == "bad"
    assert Queue.all(connection=client), "rq-dashboard asks for it"


def test_a_key_of_another_type_is_cleared_away_and_kept(client: Redis) -> None:
    client.set("rq:queue:prepare", "x")
    sweep.sweep(client, ["prepare"])
    put(client, "good")
    assert refused.newest(client)[0].reason == "a string stood where RQ has a list"
    assert work(client) == [GOOD]


@pytest.mark.parametrize("prefix", ["MASTERDOWN", "NOPERM", "ERR"])
def test_a_server_in_trouble_makes_no_job_a_refused_one(
    client: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, "good")

    def trouble(*_: Any, **__: Any) -> None:
        raise ResponseError(f"{prefix} not now")

    with monkeypatch.context() as patch:
        patch.setattr(client, "hgetall", trouble)
        with pytest.raises(ResponseError, match="not now"):
            AllowedJob.fetch("good", client, JSONSerializer)
    assert refused.count(client) == 0
    assert work(client) == [GOOD]


def test_a_name_in_the_list_of_workers_deletes_nobodys_key(client: Redis) -> None:
    put(client, "good")
    client.sadd("rq:workers", "rq:queue:prepare", "rq:job:good")
    sweep.sweep(client, ["prepare"])
    assert work(client) == [GOOD]


def test_a_refused_job_that_is_retried_is_refused_again(client: Redis) -> None:
    put(client, "bad", data=data("os.system", ["true"]), retries_left="3")
    work(client)
    for count in (2, 3):
        Queue("prepare", connection=client).failed_job_registry.requeue("bad")
        assert work(client) == []
        is_refused(client, "bad", count=count)


def test_refused_jobs_are_kept_in_characters_that_are_safe_to_print_and_not_without_bound(
    client: Redis,
) -> None:
    for number in range(refused.MOST + 20):
        put(client, f"bad{number}", data=b"\x1b[31m\xff" * 5000, description="\x1b]0;title\x07")
    assert work(client) == []
    found = refused.newest(client)
    assert refused.count(client) == refused.MOST + 20
    assert len(found) == refused.MOST == client.llen(refused.LIST)
    assert found[0].id == f"bad{refused.MOST + 19}"
    texts = [text for each in found for text in (each.id, each.queue, each.function, each.reason, each.data)]
    assert all(text.isprintable() for text in texts)
    assert all(len(each.data) < 5 * refused.MOST_BYTES for each in found)
    assert 0 < client.ttl("rq:job:bad0") <= refused.KEEP_SECONDS


PLACES: dict[str, Callable[[Redis, bytes], Any]] = {
    "data": lambda c, bomb: put(c, "bad", data=bomb),
    "compressed data": lambda c, bomb: put(c, "bad", data=zlib.compress(bomb)),
    "meta": lambda c, bomb: put(c, "bad", meta=bomb),
    "result": lambda c, bomb: put(c, "bad", result=bomb),
    "exc_info": lambda c, bomb: put(c, "bad", exc_info=bomb),
    "compressed exc_info": lambda c, bomb: put(c, "bad", exc_info=zlib.compress(bomb)),
    "a failed job": lambda c, bomb: (put(c, "bad", data=bomb), c.zadd("rq:failed:prepare", {"bad": 2**40})),
    "a started job": lambda c, bomb: (
        put(c, "bad", meta=bomb, status="started"),
        c.zadd("rq:wip:prepare", {"bad:x": 1}),
    ),
    "a scheduled job": lambda c, bomb: (put(c, "bad", data=bomb), c.zadd("rq:scheduled:prepare", {"bad": 1})),
    "cron": lambda c, bomb: (
        c.zadd("rq:cron_schedulers", {"evil": 2**40}),
        c.hset("rq:cron_scheduler:evil", mapping={"cron_jobs": bomb, "config": bomb}),
    ),
    "a worker": lambda c, bomb: worker(c, hostname=bomb),
    "an execution": lambda c, bomb: (
        put(c, "bad"),
        c.zadd("rq:executions:bad", {"e": 2**40}),
        c.hset("rq:execution:bad:e", mapping={"created_at": bomb, "last_heartbeat": bomb}),
    ),
    "a stream of results": lambda c, bomb: (put(c, "bad"), c.xadd("rq:results:bad", {"return_value": bomb})),
}


@pytest.mark.parametrize("plant", PLACES.values(), ids=PLACES)
def test_no_pickle_is_read_wherever_it_stands(
    client: Redis, plant: Callable[[Redis, bytes], Any], tmp_path: Any
) -> None:
    bomb = Bomb(tmp_path / "trace")
    plant(client, pickle.dumps(bomb))
    recovery.reclaim(client, ["prepare"])
    overview.queues(client, ["prepare"], overview.workers(client))
    work(client)
    assert not bomb.trace.exists()


def test_a_job_put_there_by_an_rq_that_writes_pickle_is_refused(client: Redis, tmp_path: Any) -> None:
    class Pickle:
        dumps = staticmethod(pickle.dumps)
        loads = staticmethod(pickle.loads)

    bomb = Bomb(tmp_path / "trace")
    id = Queue("prepare", connection=client, serializer=Pickle).enqueue("os.system", bomb).id
    assert work(client) == []
    is_refused(client, id)
    assert not bomb.trace.exists()
    bomb.explode()
    assert bomb.trace.exists(), "the bomb itself works"


def test_status_counts_what_was_refused_and_failures_show_it(client: Redis) -> None:
    assert answer("status")["refused"] == 0
    assert "No job" in mediaflow("failures", "--refused").stdout
    put(client, "bad", data=data("os.system", ["true"]))
    work(client)
    assert answer("status")["refused"] == 1
    assert "1 malformed job rejected (mediaflow failures --refused)" in mediaflow("status").stdout
    [kept] = answer("failures", "--refused")
    assert (kept["id"], kept["queue"], kept["function"]) == ("bad", "prepare", "os.system")
    assert "os.system" in mediaflow("failures", "--refused").stdout


def test_what_was_refused_is_escaped_also_where_redis_was_forged(client: Redis) -> None:
    forged = {
        "id": "\x1b[31m",
        "queue": "[red]",
        "function": "\r",
        "reason": "\u202e",
        "data": "\x07",
        "when": 1,
    }
    client.lpush(refused.LIST, json.dumps(forged))
    said = mediaflow("failures", "--refused").stdout
    assert all(letter.isprintable() for letter in said.replace("\n", ""))


def test_what_is_planted_after_a_worker_was_born_does_not_stop_its_cleaning(client: Redis) -> None:
    worker = WarmWorker("prepare", WorkerBench("prepare", client))
    worker.register_birth()
    client.zadd("rq:wip:prepare", {b"\xff\xfe": 1})
    worker.clean_registries()
    assert refused.count(client) == 1
    worker.register_death()


def test_an_execution_that_ran_out_or_is_garbage_is_known_by_its_id(client: Redis) -> None:
    """RQ reads it to take a job out of the registry, and raises: `up` would end."""
    put(client, "started")
    job = AllowedJob.fetch("started", client, JSONSerializer)
    with client.pipeline() as pipeline:
        execution = Execution.create(job, ttl=100, pipeline=pipeline)
        pipeline.execute()
    client.hset(execution.key, "created_at", b"\xff")
    assert [each.id for each in job.get_executions()] == [execution.id]
    client.delete(execution.key)
    assert [each.id for each in job.get_executions()] == [execution.id]
