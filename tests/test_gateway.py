"""The gateway: a real process, real TLS, a box that is played by the test, and everything else as it is."""

from __future__ import annotations

import io
import json
import signal
import stat
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer
from rq.worker import Worker

from mediaflow.fleet import ledger
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import MANIFEST
from mediaflow.ops.processes import Planned, start_worker
from mediaflow.queues.connection import connect
from mediaflow.queues.jobs import ANALYSE, AllowedJob, AllowedQueue, NewJob, enqueue, queue
from mediaflow.queues.lineage import child_id, is_at_home
from mediaflow.queues.recovery import Reclaimer, bury_predecessors
from mediaflow.service.certificate import gateway_certificate, gateway_folder
from mediaflow.service.links import Links
from tests.boxes import (
    Client,
    GatewayProcess,
    box_of,
    change_box,
    enter_box,
    finding,
    gateway_process,
)
from tests.installation import Installation, answer, paint, paint_many, until
from workers.bench import WorkerBench
from workers.gateway.leaving_queue import LeavingQueue, Look
from workers.worker import WarmWorker

pytestmark = pytest.mark.slow

BOX = "mediaflow-test-a"
OTHER = "mediaflow-test-b"


@pytest.fixture
def served(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation whose task `look` has no worker of its own: boxes may do it."""
    monkeypatch.setenv("MEDIAFLOW_TASKS__LOOK__WORKERS", "0")
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    # Its `up` is only asked for the queue and the stages around the task.
    monkeypatch.delenv("VAST_API_KEY", raising=False)
    installation.queues = {"prepare", "index"}
    installation.up()
    return installation


@pytest.fixture
def gateway(served: Installation) -> Iterator[GatewayProcess]:
    with gateway_process(served.home) as running:
        yield running


@pytest.fixture
def box(gateway: GatewayProcess) -> Client:
    client = gateway.client(enter_box(BOX))
    client.hello()
    return client


def submit(folder: Path, count: int, *arguments: str, first: int = 0) -> None:
    paint_many(folder, count, first=first)
    answer("submit", str(folder), *arguments)


def work(box: Client, count: int, task: str = "look") -> list[str]:
    """Do so many items as an honest box does; the assets, in order."""
    seen: list[str] = []
    while len(seen) < count:
        items = box.take(task)
        assert box.answer(*(finding(item["id"]) for item in items)) == len(items)
        seen += [item["item"]["asset"] for item in items]
    return seen


def stand_ins(client: Redis) -> set[str]:
    return {worker.name for worker in Worker.all(connection=client) if BOX in worker.name}


def waiting_ids(task: str = "look") -> list[str]:
    """The jobs that wait, but those by which this machine checks what was stored."""
    with closing(connect()) as client:
        return [id for id in queue(task, client).get_job_ids() if "--store-" not in id]


def stored(served: Installation) -> int:
    """How many findings there are; some of them wait to be checked here."""
    return int(served.ask("SELECT COUNT(*) FROM findings")[0][0])


def all_is_done(served: Installation, count: int) -> bool:
    """Whether so much is done when this machine works too, which has only to check what boxes found."""
    until(lambda: stored(served) == count, "all findings are stored")
    worker = start_worker(Planned("look", "look"))
    try:
        served.wait()
    finally:
        worker.terminate()
        worker.wait()
    return served.states() == {"done": count}


# --- the way of the work -----------------------------------------------------------------------


def test_a_box_does_the_work_of_a_run(served: Installation, gateway: GatewayProcess, tmp_path: Path) -> None:
    box = gateway.client(enter_box(BOX))
    told = box.hello(gpu="RTX 4090")
    assert (told["label"], told["tasks"]) == (BOX, ["look", "late"])
    assert told["settings"]["tasks"]["look"]["module"] == "tests.tasks.colours"
    submit(tmp_path / "pictures", 30)
    work(box, 30)
    assert all_is_done(served, 30)
    assert 3 <= len(served.calls()) < 30
    until(lambda: box_of(BOX).done == 30, "the ledger knows what it did")
    assert box_of(BOX).state == "working"
    assert box_of(BOX).hardware["gpu"] == "RTX 4090"
    with closing(ledger.open_ledger()) as db:
        assert ledger.rates(db)["RTX 4090", "look"] > 0


def test_a_box_gets_the_items_of_several_jobs_at_once(box: Client, tmp_path: Path) -> None:
    submit(tmp_path / "pictures", 16)  # four jobs of four
    until(lambda: len(waiting_ids()) == 4, "all wait")
    assert len(box.take(most=1)) == 1
    until(lambda: len(waiting_ids()) == 2, "both stand-ins have a job")
    assert len(box.take()) == 7


def test_a_rendition_comes_with_what_the_task_needs_and_nothing_of_the_original(
    box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 1)
    [item] = box.take()
    came = box.ask("GET", item["link"])
    with tarfile.open(fileobj=io.BytesIO(came.content)) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert sorted(tar.getnames()) == sorted(["manifest.json", manifest["pictures"][0]["file"]])
    assert manifest["asset"] == item["item"]["asset"]
    assert (manifest["media"], manifest["thumbnail"], "folder" in manifest) == ({}, None, False)
    until(lambda: box_of(BOX).bytes >= len(came.content), "the bytes are counted")


def test_what_a_box_cannot_do_is_done_at_home_before_anybody_calls_the_file_bad(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 4)
    items = box.take()
    box.answer(
        *(finding(item["id"]) for item in items[1:]), {"id": items[0]["id"], "reason": "out of memory"}
    )
    until(lambda: stored(served) == 3, "the others are stored")
    [id] = until(waiting_ids, "it waits again")
    assert is_at_home(id)
    assert stored(served) == 3
    assert box.post("take", task="look", most=10)["items"] == []  # though nobody else serves the queue


def test_what_one_box_cannot_do_another_gets_and_what_both_cannot_is_done_at_home(
    gateway: GatewayProcess, box: Client, tmp_path: Path
) -> None:
    second = gateway.client(enter_box(OTHER))
    second.hello()
    second.post("take", task="look", most=1)
    submit(tmp_path / "pictures", 4)

    def refuse(client: Client) -> list[str]:
        seen: list[str] = []
        while len(seen) < 4:
            items = client.take()
            client.answer(*({"id": item["id"], "reason": "out of memory"} for item in items))
            seen += [item["item"]["asset"] for item in items]
        return sorted(seen)

    with ThreadPoolExecutor(2) as pool:
        first_seen, second_seen = pool.map(refuse, (box, second))
    assert first_seen == second_seen, "each had each of them once"
    until(lambda: waiting_ids() and all(is_at_home(id) for id in waiting_ids()), "they are done here")


def test_files_of_a_library_that_may_not_leave_stay(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "private", 4, "--library", "private")
    submit(tmp_path / "pictures", 4, first=10)
    assert len(work(box, 4)) == 4
    until(lambda: stored(served) == 4, "only those of the other library are done")
    assert until(waiting_ids, "they wait")
    assert all(is_at_home(id) for id in waiting_ids())
    assert box.post("take", task="look", most=10)["items"] == []


def test_two_boxes_share_a_queue_and_no_item_is_done_twice(
    gateway: GatewayProcess, box: Client, served: Installation, tmp_path: Path
) -> None:
    second = gateway.client(enter_box(OTHER))
    second.hello()
    submit(tmp_path / "pictures", 120)

    def serve(client: Client) -> list[str]:
        done: list[str] = []
        while stored(served) < 120:
            items = client.post("take", task="look", most=7)["items"]
            client.answer(*(finding(item["id"]) for item in items))
            done += [item["item"]["asset"] for item in items]
        return done

    with ThreadPoolExecutor(2) as pool:
        first_done, second_done = pool.map(serve, (box, second))
    assert len(first_done) + len(second_done) == 120
    assert len({*first_done, *second_done}) == 120
    assert first_done
    assert second_done


# --- boxes that go, and gateways that go -----------------------------------------------------------


def test_a_box_that_died_gives_its_items_back_within_a_minute(
    gateway: GatewayProcess, box: Client, served: Installation, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 8)
    items = box.take()
    second = gateway.client(enter_box(OTHER))
    second.hello()
    started = time.monotonic()
    assert len(work(second, 8)) == 8  # what the first had, and what waited for it
    assert time.monotonic() - started < 60
    # It was only out of reach: what it answers now is of no use, and it goes on with new items.
    assert box.answer(*(finding(item["id"]) for item in items)) == 0
    change_box(OTHER, state="ending")
    submit(tmp_path / "more", 4, first=100)
    assert len(work(box, 4)) == 4


def test_a_box_that_says_hello_again_gets_its_items_again(box: Client, tmp_path: Path) -> None:
    submit(tmp_path / "pictures", 4)
    before = box.take()
    time.sleep(1)  # it says hello once a second at most
    box.hello()
    # One that it had all the same is not done again.
    assert box.answer(finding(before[0]["id"])) == 1
    assert {item["id"] for item in box.take()} == {item["id"] for item in before[1:]}


def _fails(box: Client) -> bool:
    """Whether the gateway fails when it is asked for items."""
    try:
        # On a connection of its own: the gateway ends it.
        ask, alone = {"task": "look", "most": 4}, {"connection": "close"}
        return box.ask("POST", "/box/take", json=ask, headers=alone).status_code >= 500
    except httpx2.TransportError:
        return True


def test_items_that_were_given_when_the_gateway_failed_are_given_again(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 4)
    until(lambda: served.states() == {"wanted": 4}, "they wait")
    [(last,)] = served.ask("SELECT hash FROM assets ORDER BY id DESC LIMIT 1")
    manifest = rendition_folder(last) / MANIFEST
    manifest.rename(manifest.with_suffix(".aside"))
    manifest.mkdir()
    until(lambda: _fails(box), "it fails")
    manifest.rmdir()
    manifest.with_suffix(".aside").rename(manifest)
    assert len(box.take(most=4)) == 4


def test_a_box_that_drains_ends_what_it_has_and_gets_no_more(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 12)
    items = box.take(most=3)
    change_box(BOX, state="draining")
    until(lambda: box.post("beat", busy={}, log="")["order"] == "drain", "it is told")
    assert box.post("take", task="look", most=100)["items"] == []
    assert box.answer(*(finding(item["id"]) for item in items)) == 3
    until(lambda: stored(served) == 3, "what it had is stored")
    with closing(connect()) as client:
        until(lambda: not stand_ins(client), "no stand-in is left")
    assert len(waiting_ids()) == 3


def test_a_box_that_is_not_well_gets_nothing_and_is_told_to_end(
    gateway: GatewayProcess, served: Installation, tmp_path: Path
) -> None:
    box = gateway.client(enter_box(BOX))
    box.hello(well=False)
    submit(tmp_path / "pictures", 4)
    assert box.post("take", task="look", most=4) | {"lease": 0} == {"items": [], "order": "end", "lease": 0}
    known = box_of(BOX)
    assert (known.state, known.trouble) == ("loading", "gpu: seen")


def test_a_gateway_that_is_told_to_stop_gives_everything_back(
    served: Installation, gateway: GatewayProcess, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 12)
    items = box.take(most=3)
    box.answer(finding(items[0]["id"]))
    assert gateway.stop() == 0
    until(lambda: stored(served) == 1, "what was answered is stored")
    assert len(waiting_ids()) == 3
    with closing(connect()) as client:
        assert not stand_ins(client)


def test_a_gateway_that_is_killed_loses_nothing(
    served: Installation, gateway: GatewayProcess, box: Client, tmp_path: Path
) -> None:
    submit(tmp_path / "pictures", 12)
    box.take(most=3)
    gateway.stop(signal.SIGKILL)
    started = time.monotonic()
    until(lambda: len(waiting_ids()) == 3, "all its jobs wait again")
    assert time.monotonic() - started < 30
    with gateway_process(served.home) as second:
        again = second.client(enter_box(OTHER))
        again.hello()
        work(again, 12)
        assert all_is_done(served, 12)


def test_a_stand_in_that_begins_anew_does_not_strike_off_its_siblings(redis_url: str, colours: Path) -> None:
    """They share a process: each is known by its seat."""
    with closing(connect()) as client:
        first, second = (WarmWorker("look", WorkerBench("look", client), f"{BOX}-{n}-") for n in (1, 2))
        for worker in (first, second):
            worker.register_birth()
        again = WarmWorker("look", WorkerBench("look", client), f"{BOX}-1-")
        bury_predecessors(client, again.name)
        assert stand_ins(client) == {second.name}


def test_a_job_that_is_taken_while_somebody_looks_for_those_of_the_dead_stays_where_it_is(
    redis_url: str, colours: Path
) -> None:
    """Who read its record as waiting, and then as started, took it from a worker that had just begun."""
    with closing(connect()) as client:
        worker = WarmWorker("look", WorkerBench("look", client), f"{BOX}-1-")
        worker.register_birth()
        enqueue(client, "look", [NewJob("job", ANALYSE, (1, "look", "look", [{"asset": "a" * 64}]), "")])
        found = AllowedQueue.dequeue_any(worker.queues, None, client, AllowedJob, JSONSerializer)
        assert found is not None
        job = found[0]

        class TakenMeanwhile(Reclaimer):
            def _stranded(self, *given: Any) -> Any:
                worker.prepare_execution(job)
                worker.prepare_job_execution(job, remove_from_intermediate_queue=True)
                return super()._stranded(*given)

        assert TakenMeanwhile(("look",)).look(client).waiting == 0
        assert queue("look", client).get_job_ids() == []


# --- certificate, links, numbers -------------------------------------------------------------------


def test_the_certificate_is_made_once_for_its_owner_only_and_anew_when_damaged(home: Path) -> None:
    first = gateway_certificate()
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    pem = first.pem()
    assert gateway_certificate().pem() == pem
    first.key.write_text("")
    assert gateway_certificate().pem() != pem
    assert sorted(path.name for path in gateway_folder().iterdir()) == ["certificate.pem", "key.pem"]


def test_a_key_that_others_could_read_is_not_used_any_more(home: Path) -> None:
    first = gateway_certificate()
    pem = first.pem()
    first.key.chmod(0o644)
    assert gateway_certificate().pem() != pem


def test_links_of_one_process_are_nothing_to_another() -> None:
    link = Links.fresh().to_rendition("a" * 64, "look", BOX)
    parts = dict(pair.split("=") for pair in link.partition("?")[2].split("&"))
    assert not Links.fresh().is_good("a" * 64, **parts)


def test_a_link_that_is_over_is_not_good() -> None:
    links = Links.fresh()
    signature = links._sign("a" * 64, task="look", box=BOX, until="1000000000")
    assert not links.is_good("a" * 64, "look", BOX, "1000000000", signature)
    signature = links._sign("a" * 64, task="look", box=BOX, until="100000000000")
    assert links.is_good("a" * 64, "look", BOX, "100000000000", signature)


def test_a_stand_ins_queue_passes_over_what_stays_at_home_and_gives_no_job_twice(redis_url: str) -> None:
    ids = [child_id("run1-prepare-1", "look", at_home=number % 3 == 0) for number in range(300)]
    with closing(connect()) as client:
        client.rpush("rq:queue:look", *ids)

        def take_all() -> list[str]:
            taken = []
            while True:
                try:
                    taken.append(NeverTold.lmove(client, "rq:queue:look", 0)[1].decode())
                except DequeueTimeout:
                    return taken

        with ThreadPoolExecutor(8) as pool:
            taken = [id for each in [pool.submit(take_all) for _ in range(8)] for id in each.result()]
        leaving = [id for id in ids if not is_at_home(id)]
        assert sorted(taken) == sorted(leaving)
        assert [id.decode() for id in client.lrange("rq:queue:look", 0, -1)] == list(filter(is_at_home, ids))
        assert client.llen("rq:queue:look:intermediate") == len(leaving)


def test_a_job_that_may_leave_is_found_at_either_end_of_many_that_stay(redis_url: str) -> None:
    home = [child_id("run1-prepare-1", "look", at_home=True) for _ in range(1000)]
    key, look = "rq:queue:look", Look()
    with closing(connect()) as client:
        client.rpush(key, *home)
        read: list[int] = []
        lrange = client.lrange
        client.lrange = lambda *range_: read.append(len(found := lrange(*range_))) or found  # type: ignore[method-assign,func-returns-value]

        def take() -> bytes | None:
            read.clear()
            return look.take(client, key, NeverTold.passes)

        assert take() is None
        assert sum(read) == 1000
        for _ in range(3):
            assert take() is None
            assert sum(read) < 500, "what was seen is not read again"
        first, last, at_home = (child_id("run1-prepare-1", "look", at_home=n == 2) for n in range(3))
        client.rpush(key, at_home, last)
        client.lpush(key, first)
        client.lrem(key, 1, home[0])
        assert [take(), take(), take()] == [first.encode(), last.encode(), None]
        client.delete(key)
        many = [child_id("run1-prepare-1", "look") for _ in range(300)]
        client.rpush(key, *many)
        assert [take() for _ in range(301)] == [*(id.encode() for id in many), None]


class NeverTold(LeavingQueue):
    stopping = staticmethod(lambda: False)
    look = Look()


def test_a_picture_in_two_libraries_stays_where_one_of_them_is_private(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    paint(tmp_path / "private" / "one.png")
    paint(tmp_path / "pictures" / "copy.png")
    answer("submit", str(tmp_path / "private"), "--library", "private")
    until(lambda: served.states() == {"wanted": 1}, "it is prepared")
    answer("submit", str(tmp_path / "pictures"))
    assert box.post("take", task="look", most=10)["items"] == []
    assert served.states() == {"wanted": 1}


def test_a_copy_in_a_private_library_closes_the_links_that_were_given_before(
    served: Installation, box: Client, tmp_path: Path
) -> None:
    paint(tmp_path / "pictures" / "one.png")
    answer("submit", str(tmp_path / "pictures"))
    (item,) = box.take()
    assert box.ask("GET", item["link"]).status_code == 200
    paint(tmp_path / "private" / "copy.png")
    answer("submit", str(tmp_path / "private"), "--library", "private")
    until(lambda: box.ask("GET", item["link"]).status_code == 404, "the link is closed")
    assert box.post("beat", busy={}, log="")["order"] == "work", "the box itself goes on"
