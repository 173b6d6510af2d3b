"""rq-dashboard as mediaflow serves it: readable, and its buttons do no harm."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.queues import connection, jobs, refused
from mediaflow.queues.jobs import ANALYSE, NewJob
from tests.bombs import Bomb
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow


@pytest.fixture
def dashboard(either: Installation) -> Iterator[str]:
    """The address of a dashboard of an installation that is up."""
    either.up()
    with served() as address:
        yield address


@pytest.fixture
def queue_only(redis_url: str, colours: Path) -> Iterator[str]:
    """The address of a dashboard of a server that nobody works on."""
    with served() as address:
        yield address


@contextmanager
def served() -> Iterator[str]:
    """A dashboard in a process of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mediaflow", "dashboard", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "it answers", 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def ask(address: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    request = urllib.request.Request(address, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def fail(client: Redis, *ids: str) -> None:
    """Jobs that waited, and are now listed as failed: their files are still wanted."""
    queue = jobs.queue("late", client)
    for id in ids:
        job = queue.fetch_job(id)
        queue.remove(id)
        job.set_status("failed")
        queue.failed_job_registry.add(job, ttl=1000)


def test_jobs_are_readable(dashboard: str) -> None:
    with connection.connect() as client:
        jobs.enqueue(
            client,
            "late",
            [NewJob("run1-late-1", ANALYSE, (1, "late", "late", []), "prepare: 1 files: café")],
        )
    status, text = ask(f"{dashboard}/0/data/jobs/late/queued/10/asc/1.json")
    assert status == 200
    assert "café" in json.dumps(json.loads(text), ensure_ascii=False)
    assert ask(f"{dashboard}/0/view/job/run1-late-1")[0] == 200
    assert "prepare: 1 files" in ask(f"{dashboard}/0/data/job/run1-late-1.json")[1]
    assert len(json.loads(ask(f"{dashboard}/0/data/workers.json")[1])["workers"]) == 3


@pytest.mark.parametrize("button", ["job/{id}/requeue", "requeue/late"])
def test_a_job_that_is_retried_from_it_works_and_holds_no_pickle(
    dashboard: str, either: Installation, tmp_path: Path, button: str
) -> None:
    paint_many(tmp_path / "pile", 3)
    assert mediaflow("submit", str(tmp_path / "pile"), "--tasks", "late").returncode == 0
    with connection.connect() as client:
        [id] = until(lambda: jobs.queue("late", client).get_job_ids(), "it waits: nobody serves its queue")
        fail(client, id)
        assert ask(f"{dashboard}/{button.format(id=id)}", "POST")[0] == 200
        stored = client.hgetall(f"rq:job:{id}")
        assert not [key for key, value in stored.items() if value.startswith(b"\x80")], "a pickle"
        assert jobs.queue("late", client).get_job_ids() == [id]
    assert answer("submit", str(tmp_path / "pile"), "--tasks", "late", "--wait")["done"] == 3
    assert len(either.calls("late")) == 3, "by the job that was retried"


REGISTRIES = ["queued", "failed", "started", "finished", "scheduled", "canceled", "deferred"]


def views(*ids: str) -> list[str]:
    """The addresses of all that can be looked at, with these jobs."""
    paths = ["", "0/view/workers", "0/view/jobs", "0/data/queues.json", "0/data/workers.json"]
    for registry in REGISTRIES:
        paths += [
            f"0/view/jobs/late/{registry}/8/asc/1",
            *(f"0/data/jobs/late/{registry}/8/{order}/1.json" for order in ("asc", "dsc")),
        ]
    return paths + [path for id in ids for path in (f"0/view/job/{id}", f"0/data/job/{id}.json")]


def buttons(*ids: str) -> list[str]:
    """The addresses of all that can be pressed."""
    paths = [path for id in ids for path in (f"job/{id}/requeue", f"job/{id}/delete")]
    return [
        "requeue/late",
        "queue/late/compact",
        *paths,
        *(f"queue/late/{name}/empty" for name in REGISTRIES),
    ]


BAD: dict[str, dict[str, object]] = {
    "data": {"data": None},
    "meta": {"meta": None},
    "result": {"result": None},
    "exc": {"exc_info": None},
    "time": {"created_at": b"never"},
    "status": {"status": b"dancing"},
    "text": {"description": b"\xff\xfe"},
}


def plant(client: Redis, bomb: bytes) -> list[str]:
    """Jobs that break the rules, in every registry; where a field has no value it is the pickle."""
    for id, fields in BAD.items():
        jobs.enqueue(client, "late", [NewJob(id, ANALYSE, (1, "late", "late", []), "fine")])
        values = {name: bomb if value is None else value for name, value in fields.items()}
        client.hset(f"rq:job:{id}", mapping=values)
        for registry in ("failed", "wip", "finished", "scheduled", "canceled", "deferred"):
            client.zadd(f"rq:{registry}:late", {f"{id}:x" if registry == "wip" else id: 2**40})
        client.xadd(f"rq:results:{id}", {"type": 1, "return_value": b64encode(bomb)})
    client.zadd("rq:failed:late", {b"\xff\xfe": 2**40})
    client.rpush("rq:queue:late", "vanished", b"\xff\xfe")
    client.sadd("rq:workers", "rq:worker:forged", "rq:worker:vanished")
    client.hset("rq:worker:forged", mapping={"hostname": bomb, "pid": "x"})
    client.zadd("rq:cron_schedulers", {"evil": 2**40})
    return list(BAD)


def test_looking_reads_no_pickle_and_changes_nothing_whatever_redis_holds(
    queue_only: str, tmp_path: Path
) -> None:
    bomb = Bomb(tmp_path / "trace")
    with connection.connect() as client:
        ids = plant(client, pickle.dumps(bomb))
        before = everything(client)
        for path in views(*ids):
            assert ask(f"{queue_only}/{path}")[0] == 200, path
        assert ask(f"{queue_only}/0/view/job/vanished")[0] == 404
        assert everything(client) == before
        assert refused.count(client) == 0
    shown = ask(f"{queue_only}/0/data/job/data.json")[1]
    assert "refused" in shown
    assert not bomb.trace.exists()


def test_pressing_reads_no_pickle_and_makes_none(queue_only: str, tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "trace")
    with connection.connect() as client:
        for path in buttons(*BAD):
            client.flushall()
            plant(client, pickle.dumps(bomb))
            assert ask(f"{queue_only}/{path}", "POST")[0] in (200, 404, 500), path
            if "requeue" in path:
                assert ask(f"{queue_only}/0/data/queues.json")[0] == 200
        client.flushall()
        plant(client, pickle.dumps(bomb))
        for id in BAD:
            assert ask(f"{queue_only}/job/{id}/requeue", "POST")[0] == 200
            stored = client.hgetall(f"rq:job:{id}")
            assert not stored[b"data"].startswith(b"\x80"), "a pickle"
    assert not bomb.trace.exists()


def test_no_button_can_be_pressed_by_an_address_alone(queue_only: str) -> None:
    with connection.connect() as client:
        plant(client, b"x")
        before = everything(client)
        for path in buttons(*BAD):
            assert ask(f"{queue_only}/{path}")[0] in (403, 404, 405), path
        assert everything(client) == before


def test_a_result_of_gigabytes_is_not_inflated_to_be_shown(queue_only: str) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(1024)) + packer.flush()
    with connection.connect() as client:
        [id, *_] = plant(client, b"x")
        client.xadd(f"rq:results:{id}", {"type": 2, "exc_string": b64encode(bomb)})
        client.hset(f"rq:job:{id}", mapping={"exc_info": bomb, "data": bomb})
    assert ask(f"{queue_only}/0/data/job/{id}.json")[0] == 200
    port = queue_only.rpartition(":")[2].encode()
    [pid] = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if {b"dashboard", port} <= set(path.read_bytes().split(b"\0"))
    ]
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert int(peak) < 600_000


def everything(client: Redis) -> dict[bytes, object]:
    """All that the server holds, but for what workers say of themselves."""
    return {key: client.dump(key) for key in client.keys("*")}


def test_other_sites_pages_cannot_press_its_buttons(dashboard: str) -> None:
    for path in ("job/x/requeue", "requeue/prepare", "queue/prepare/queued/empty", "job/x/delete"):
        assert ask(f"{dashboard}/{path}", "POST", Origin="http://evil.example")[0] == 403
        assert ask(f"{dashboard}/{path}", "POST", Origin="null")[0] == 403
    assert ask(f"{dashboard}/requeue/prepare")[0] == 403, "an address in a picture's tag"
    assert ask(f"{dashboard}/", Host="evil.example")[0] == 403, "a name that was bent to this machine"
    assert ask(f"{dashboard}/", Origin=dashboard)[0] == 200
    assert ask(f"{dashboard}/")[0] == 200


HOSTILE = "<img src=x onerror=\"document.title='was run'\">"


def hostile_job() -> str:
    """A failed job with HTML wherever a file's name, or an error that quotes one, can come to stand."""
    with connection.connect() as client:
        jobs.enqueue(
            client,
            "late",
            [NewJob("run1-late-1", ANALYSE, (1, "late", "late", [{"asset": "a" * 64}]), HOSTILE)],
        )
        fail(client, "run1-late-1")
        job = jobs.queue("late", client).fetch_job("run1-late-1")
        client.hset(job.key, mapping={"exc_info": zlib.compress(HOSTILE.encode())})
    return "run1-late-1"


def test_templates_put_nothing_into_a_page_as_html(dashboard: str) -> None:
    for page in (
        "view/queues",
        "view/workers",
        "view/jobs/late/failed/10/asc/1",
        f"view/job/{hostile_job()}",
    ):
        status, text = ask(f"{dashboard}/0/{page}")
        assert status == 200
        assert "<%-" in text
        raw = re.findall(r"<%=([^%]*)%>", text)
        assert all(each.strip().startswith("$('<div/>').text(") for each in raw), (page, raw)


def test_html_in_a_name_is_shown_and_not_run_by_a_browser(dashboard: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("There is no browser here: apt-get install chromium")
    job = hostile_job()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=8000", "--dump-dom"]
    for page in (f"view/job/{job}", "view/jobs/late/failed/10/asc/1"):
        command = [browser, *flags, f"{dashboard}/0/{page}"]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
        assert "&lt;img src=x" in dom, "it is there, as text"
        assert "<img src=" not in dom
        assert "<title>was run" not in dom


def test_a_port_that_is_taken_is_said(dashboard: str) -> None:
    done = mediaflow("dashboard", "--port", dashboard.rpartition(":")[2])
    assert done.returncode == 3
    assert "is taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert answer("status")["redis"]["reachable"]
