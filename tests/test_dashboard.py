"""rq-dashboard as mediaflow serves it: readable, and its buttons do no harm."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from mediaflow.queues import connection, jobs
from mediaflow.queues.jobs import PREPARE, NewJob
from tests.installation import ROOT, Installation, answer, mediaflow, paint_many, until

pytestmark = pytest.mark.slow


@pytest.fixture
def dashboard(either: Installation) -> Iterator[str]:
    """The address of a dashboard of an installation that is up."""
    either.up()
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
            client, "late", [NewJob("run1-late-1", PREPARE, (1, [7], ["look"]), "prepare: 1 files: café")]
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
        jobs.enqueue(client, "late", [NewJob("run1-late-1", PREPARE, (1, [7], [HOSTILE]), HOSTILE)])
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
