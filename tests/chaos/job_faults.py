"""Faults of jobs: those that nobody here made, and those that come twice."""

from __future__ import annotations

import zlib

from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from mediaflow.queues.jobs import AllowedJob, queue
from tests.chaos.scene import QUEUES, NobodyThere, Scene, client


def garbage_jobs(scene: Scene) -> str:
    """Jobs that nobody here made: functions that must not run, pickle, and no job at all."""
    touch = f"touch {scene.system.trace}"
    names = scene.chance.sample(QUEUES, 3)
    with client(scene) as redis:
        evil = Job.create(
            "os.system", [touch], connection=redis, serializer=JSONSerializer, id="bad-function"
        )
        evil.timeout = 60
        evil.save()
        pickled = f"cposix\nsystem\n(S'{touch}'\ntR.".encode()
        redis.hset("rq:job:bad-pickle", mapping={"data": zlib.compress(pickled), "status": "queued",
                                                  "origin": names[0]})  # fmt: skip
        redis.hset(
            "rq:job:bad-hash",
            mapping={"data": b"\xff\xfe garbage", "created_at": "yesterday", "timeout": "x"},
        )
        wrong = AllowedJob.create("jobs.stages.store", ["no", "such", "arguments"], connection=redis,
                                  serializer=JSONSerializer, id="bad-arguments", timeout=-1)  # fmt: skip
        wrong.save()
        for name in names:
            key = queue(name, redis).key
            redis.rpush(
                key,
                "bad-function",
                "bad-pickle",
                "bad-hash",
                "bad-arguments",
                "no-such-job",
                b"\xff\n\x1b[2J",
            )
    return f"into {', '.join(names)}"


def deliver_twice(scene: Scene) -> str:
    """A job that waits or runs is put into its queue once more."""
    with client(scene) as redis:
        for name in scene.chance.sample(QUEUES, len(QUEUES)):
            waiting = queue(name, redis)
            started = StartedJobRegistry(queue=waiting, job_class=AllowedJob).get_job_ids(cleanup=False)
            if ids := [*started, *waiting.get_job_ids()]:
                redis.rpush(waiting.key, ids[0])
                return f"{ids[0]} in {name}"
    raise NobodyThere
