"""The queues' protocol on a real server: whoever dies wherever, no job is lost and none is in two hands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from rq.executions import Execution
from rq.intermediate_queue import IntermediateQueue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import Worker

from mediaflow.queues import connection, recovery
from mediaflow.queues.jobs import ANALYSE, PREPARE, NewJob, enqueue, queue
from mediaflow.queues.recovery import MOST_DEATHS, Reclaimer, live_jobs

pytestmark = pytest.mark.slow
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
NAMES = ("prepare", "ocr")
NAME = st.sampled_from(["prepare", "prepare", "prepare", "ocr"])  # one, above all, in which much happens

# What a job of each queue is: in another queue it would be refused.
WORK = {"prepare": (PREPARE, (1, [1], ["ocr"])), "ocr": (ANALYSE, (1, "ocr", "m", [{"asset": "0" * 64}]))}


@dataclass
class Hand:
    """A worker in the model: what it has, and whether it has said that it started it."""

    name: str
    queue: str
    job: str | None = None
    started: bool = False


class Protocol(RuleBasedStateMachine):
    """Workers take jobs, start them, end them and die; a supervisor looks after them."""

    client: Redis
    dead_pid: int

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.reclaimer = Reclaimer(NAMES)
        self.hands: list[Hand] = []
        self.open: dict[str, str] = {}
        self.deaths: dict[str, int] = {}
        self.count = 0
        self.a_worker_comes("prepare")
        self.jobs_are_enqueued("prepare", 2)

    @rule(name=NAME)
    def a_worker_comes(self, name: str) -> None:
        self.count += 1
        if len(self.hands) > 2:
            return
        hand = Hand(f"{name}.test.{self.count}", name)
        Worker([name], name=hand.name, connection=self.client, serializer=JSONSerializer).register_birth()
        self._is(hand, os.getpid())
        self.hands.append(hand)

    @rule(name=NAME, count=st.integers(1, 3))
    def jobs_are_enqueued(self, name: str, count: int) -> None:
        ids = [f"job-{self.count}-{number}" for number in range(count)]
        self.count += 1
        enqueue(self.client, name, [NewJob(id, *WORK[name], id) for id in ids])
        self.open |= dict.fromkeys(ids, name)

    @rule(data=st.data())
    def a_worker_takes_a_job(self, data: st.DataObject) -> None:
        if hand := self._draw(data, lambda hand: hand.job is None):
            key = queue(hand.queue, self.client).key
            taken = self.client.lmove(key, IntermediateQueue(key, self.client).key, "LEFT", "RIGHT")
            hand.job = taken.decode() if isinstance(taken, bytes) else None

    @rule(data=st.data())
    def a_worker_starts_its_job(self, data: st.DataObject) -> None:
        if not (hand := self._draw(data, lambda hand: hand.job is not None and not hand.started)):
            return
        assert hand.job is not None
        into = queue(hand.queue, self.client)
        job = into.fetch_job(hand.job)
        if job is None:  # flushed
            hand.job = None
            return
        with self.client.pipeline() as pipeline:
            Execution.create(job, ttl=100, pipeline=pipeline)
            job.prepare_for_execution(hand.name, pipeline=pipeline)
            pipeline.lrem(IntermediateQueue(into.key, self.client).key, 1, job.id)
            pipeline.execute()
        hand.started = True

    @rule(data=st.data())
    def a_worker_ends_its_job(self, data: st.DataObject) -> None:
        if hand := self._draw(data, lambda hand: hand.started):
            assert hand.job is not None
            into = queue(hand.queue, self.client)
            if job := into.fetch_job(hand.job):
                with self.client.pipeline() as pipeline:
                    StartedJobRegistry(queue=into).remove_executions(job, pipeline=pipeline)
                    job.delete(pipeline=pipeline, remove_from_queue=False)
                    pipeline.execute()
            self.open.pop(hand.job, None)
            hand.job, hand.started = None, False

    @rule(data=st.data())
    def a_worker_dies(self, data: st.DataObject) -> None:
        if hand := self._draw(data, lambda _: True):
            self._is(hand, self.dead_pid)
            self.hands.remove(hand)
            if hand.started and hand.job in self.open:
                self.deaths[hand.job] = self.deaths.get(hand.job, 0) + 1

    @rule()
    def the_server_loses_everything(self) -> None:
        self.client.flushall()
        self.open, self.deaths = {}, {}
        for hand in self.hands:  # it goes on, and its next heartbeat says that it is there
            hand.job, hand.started = None, False
            worker = Worker([hand.queue], name=hand.name, connection=self.client, serializer=JSONSerializer)
            worker.register_birth()
            self._is(hand, os.getpid())

    @rule()
    def the_supervisor_looks(self) -> None:
        mine = {hand.job: self._place(hand.job) for hand in self.hands if hand.job in self.open}
        reclaimed = self.reclaimer.look(self.client)
        assert {job: self._place(job) for job in mine if job} == mine, "it is the living worker's"
        for job in reclaimed.given_up:
            assert self.deaths[job] >= MOST_DEATHS
            del self.open[job]
        for job in self.open:
            if self._place(job) == ["taken"]:
                assert self.open[job] in {hand.queue for hand in self.hands}, "nobody will start it"
            if self._place(job) == ["started"]:
                assert job in mine, "of a dead worker's jobs none stays with it"
        again = self.reclaimer.look(self.client)
        assert (again.waiting, again.given_up) == (0, []), "a second look changes nothing"

    @invariant()
    def no_job_is_lost_and_none_is_in_two_places(self) -> None:
        for job in getattr(self, "open", {}):
            assert len(self._place(job)) == 1, (job, self._place(job))

    @invariant()
    def what_is_open_lives(self) -> None:
        if hasattr(self, "open"):
            assert set(self.open) <= live_jobs(self.client, NAMES).ids

    def _place(self, job: str | None) -> list[str]:
        assert job is not None
        into = queue(self.open[job], self.client)
        places = ["waiting"] * into.get_job_ids().count(job)
        places += ["taken"] * IntermediateQueue(into.key, self.client).get_job_ids().count(job)
        return places + ["started"] * StartedJobRegistry(queue=into).get_job_ids(cleanup=False).count(job)

    def _draw(self, data: st.DataObject, fits: object) -> Hand | None:
        assert callable(fits)
        found = [hand for hand in self.hands if fits(hand)]
        return data.draw(st.sampled_from(found)) if found else None

    def _is(self, hand: Hand, pid: int) -> None:
        # Not its heartbeat's end, which takes a minute: its process is no more.
        self.client.hset(f"rq:worker:{hand.name}", "pid", pid)
        self.client.hset(f"rq:worker:{hand.name}", "hostname", socket.gethostname())


def test_no_job_is_lost_or_done_by_two_wherever_workers_die(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long a living worker may have between taking and starting: here nobody hurries it.
    monkeypatch.setattr(recovery, "TAKING_SECONDS", 3600.0)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with connection.connect() as client:
        Protocol.client, Protocol.dead_pid = client, process.pid
        run_state_machine_as_test(
            Protocol,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
