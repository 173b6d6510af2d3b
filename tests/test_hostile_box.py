"""What a box's owner could try, with all that is on the box in his hands: refused, and by which guard."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import httpx2
import pytest
from PIL import Image
from redis import Redis

from mediaflow.catalog import assets, locations
from mediaflow.catalog.database import connect as open_catalog
from mediaflow.catalog.locations import Candidate
from mediaflow.fleet import ledger
from mediaflow.fleet.speeds import Speeds
from mediaflow.media.cache import rendition_folder
from mediaflow.media.rendition import Picture, Rendition
from mediaflow.models.registry import find_model
from mediaflow.models.store import installed
from mediaflow.queues import embedded
from mediaflow.queues.connection import connect, redis_url
from mediaflow.queues.jobs import ANALYSE, AllowedJob, NewJob, enqueue, queue
from mediaflow.queues.lineage import is_at_home, new_id
from mediaflow.service.certificate import gateway_certificate
from tests.boxes import (
    Client,
    GatewayProcess,
    box_of,
    change_box,
    enter_box,
    finding,
    gateway_process,
    vector_of,
)
from tests.conftest import missing
from tests.installation import until
from workers.gateway import boxes

pytestmark = pytest.mark.slow

BOX, OTHER = "mediaflow-test-bad", "mediaflow-test-good"
MEGABYTE = 1_000_000


class Scene:
    """A queue, a catalog with pictures, and a gateway; a hostile box and an honest one are in the ledger."""

    def __init__(self, home: Path, gateway: GatewayProcess) -> None:
        self.home, self.gateway = home, gateway
        self.token, self.others_token = enter_box(BOX), enter_box(OTHER)
        self.box, self.other = gateway.client(self.token), gateway.client(self.others_token)
        self.box.hello()
        self._count = 0

    def enqueue(self, count: int, task: str = "look", library: str = "default") -> list[str]:
        """So many pictures to be looked at; their hashes."""
        hashes = []
        with closing(open_catalog()) as db, closing(connect()) as client:
            for _ in range(count):
                self._count += 1
                hashes.append(f"{self._count:064x}")
                self._prepare(db, hashes[-1], library)
            items = [{"asset": hash} for hash in hashes]
            enqueue(
                client, task, [NewJob(new_id(1, task), ANALYSE, (1, task, task, items), "to be looked at")]
            )
        return hashes

    def _prepare(self, db: Any, hash: str, library: str) -> None:
        folder = rendition_folder(hash)
        folder.mkdir(parents=True)
        Image.new("RGB", (64, 48), "grey").save(folder / "page-1.jpg")
        Rendition(hash, "image", folder, {"where": "at home"}, (Picture("page-1.jpg", 64, 48),)).save()
        [id] = locations.enqueue(db, library, 1, "job", [Candidate(b"/p", hash.encode(), 10, 1, None)])
        locations.prepared(db, id, assets.add(db, hash, "image", 10, {}))

    def stored(self) -> list[dict[str, Any]]:
        """What was handed over to be stored."""
        return [result for job in self._jobs("index") for result in job.args[3]]

    def sent_home(self, task: str = "look") -> list[str]:
        """The assets that are to be done here."""
        return [item["asset"] for job in self._jobs(task) if is_at_home(job.id) for item in job.args[3]]

    def _jobs(self, name: str) -> list[AllowedJob]:
        with closing(connect()) as client:
            ids = queue(name, client).get_job_ids()
            return [job for job in AllowedJob.fetch_many(ids, client) if job is not None]  # type: ignore[misc]

    def is_well(self) -> None:
        """An honest box can still work."""
        self.other.hello()
        [hash] = self.enqueue(1)
        change_box(BOX, state="ending")
        done: list[str] = []
        while hash not in done:
            items = self.other.take()
            assert self.other.answer(*(finding(item["id"]) for item in items)) == len(items)
            done += [item["item"]["asset"] for item in items]


@pytest.fixture
def scene(colours: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    server = embedded.start()
    try:
        with gateway_process(colours) as gateway:
            yield Scene(colours, gateway)
    finally:
        embedded.stop(server)


def status(client: Client, method: str, path: str, **options: Any) -> int:
    """How a request ends; 0 where the connection was cut without an answer."""
    try:
        return client.ask(method, path, **options).status_code
    except httpx2.TransportError:
        return 0


def raw(gateway: GatewayProcess) -> ssl.SSLSocket:
    """A connection on which anything can be said."""
    tls = ssl.create_default_context(cadata=gateway_certificate().pem())
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=90)
    return tls.wrap_socket(plain, server_hostname="mediaflow-gateway")


def is_cut(connection: ssl.SSLSocket, seconds: float) -> bool:
    """Whether the other side ends a connection within these seconds."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


# --- credentials (guard: the ledger's hash of the token, its state and its lease) ------------------


EVERYTHING = [
    ("POST", "/box/hello"), ("POST", "/box/take"), ("POST", "/box/results"), ("POST", "/box/beat"),
    ("GET", f"/renditions/{'a' * 64}.tar"), ("GET", "/models/minilm/model.onnx"),
]  # fmt: skip


def test_without_a_good_token_nothing_is_answered(scene: Scene) -> None:
    change_box(OTHER, lease=time.time() - 1)
    for header in (
        {}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer x" * 100},
        {"authorization": f"Basic {scene.token}"}, {"authorization": f"Bearer {scene.others_token}"},
        {"authorization": "Bearer ' OR 1=1 --"}, {"authorization": "Bearer \u00fc"},
    ):  # fmt: skip
        client = scene.gateway.client("")
        del client.http.headers["authorization"]
        client.http.headers.update({key: value.encode("latin-1") for key, value in header.items()})
        for method, path in EVERYTHING:
            assert client.ask(method, path).status_code == 401, (header, path)


@pytest.mark.parametrize("change", [{"state": "ending"}, {"state": "ended"}, {"lease": 1.0}])
def test_an_ended_box_is_answered_nothing_from_that_moment(scene: Scene, change: dict[str, Any]) -> None:
    scene.enqueue(2)
    first, second = scene.box.take()
    assert scene.box.answer(finding(first["id"])) == 1
    change_box(BOX, **change)
    assert status(scene.box, "POST", "/box/results", json={"results": [finding(second["id"])]}) == 401
    assert status(scene.box, "GET", second["link"]) == 401
    assert status(scene.box, "POST", "/box/take", json={"task": "look", "most": 1}) == 401


def test_a_token_is_in_no_log_and_only_its_hash_is_in_the_ledger(scene: Scene) -> None:
    scene.enqueue(1)
    [item] = scene.box.take()
    scene.box.ask("GET", item["link"])
    status(scene.box, "POST", "/box/results", content=b"{")
    written = b"".join(path.read_bytes() for path in scene.home.glob("fleet.sqlite*"))
    written += scene.gateway.log.read_bytes()
    assert scene.token.encode() not in written
    assert item["link"].rpartition("=")[2].encode() not in written


# --- others' items, others' media (guards: the desk of one box, the signature of links) ------------


def test_answers_to_items_of_another_box_count_for_nothing(scene: Scene) -> None:
    scene.enqueue(1)
    [item] = scene.box.take()
    scene.other.hello()
    assert scene.other.answer(finding(item["id"], data={"colour": "lie"})) == 0
    assert scene.box.answer(finding(item["id"])) == 1
    [stored] = until(scene.stored, "it is stored")
    assert (stored["data"], stored["box"]) == ({"colour": "grey"}, BOX)


def test_a_second_answer_to_an_item_counts_for_nothing(scene: Scene) -> None:
    scene.enqueue(1)
    [item] = scene.box.take()
    lie = finding(item["id"], data={"colour": "lie"})
    assert scene.box.answer(finding(item["id"]), lie) == 1
    assert scene.box.answer(lie) == 0
    until(scene.stored, "it is stored")
    assert [result["data"] for result in scene.stored()] == [{"colour": "grey"}]


def test_a_link_is_good_for_one_box_one_task_one_asset_and_a_while(scene: Scene) -> None:
    scene.enqueue(1)
    [item] = scene.box.take()
    scene.other.hello()
    path, _, query = item["link"].partition("?")
    parts = {key: values[0] for key, values in parse_qs(query).items()}
    other = rendition_folder("b" * 64)
    other.mkdir(parents=True)

    def asked(client: Client = scene.box, at: str = path, **changes: str) -> int:
        return status(client, "GET", f"{at}?{urlencode(parts | changes)}")

    assert asked() == 200
    assert asked(scene.other) == 404
    assert asked(scene.other, box=OTHER) == 404
    assert asked(at=f"/renditions/{'b' * 64}.tar") == 404
    assert asked(task="late") == 404
    assert asked(until=str(int(parts["until"]) + 1)) == 404
    assert asked(until="1") == 404
    assert asked(until="9" * 30) == 404
    assert asked(signature="0" * 64) == 404
    assert asked(signature="\u00e9" * 64) == 404
    assert asked(signature="") == 404
    assert status(scene.box, "GET", path) == 404


def test_a_rendition_can_be_fetched_only_while_its_item_is_in_hand_and_not_for_ever(scene: Scene) -> None:
    scene.enqueue(2)
    first, second = scene.box.take()
    assert [status(scene.box, "GET", first["link"]) for _ in range(7)] == [200] * 6 + [404]
    scene.box.answer(finding(second["id"]))
    assert status(scene.box, "GET", second["link"]) == 404


def test_no_path_leads_out_of_what_is_served(scene: Scene) -> None:
    scene.enqueue(1)
    [item] = scene.box.take()
    query = item["link"].partition("?")[2]
    (scene.home / "secret").write_text("a secret")
    outside = [f"/renditions/{up}secret.tar?{query}" for up in ("../", "%2e%2e/", "..%2f", "%2e%2e%2f" * 5)]
    outside += [
        f"/models/{up}secret" for up in ("../", "..%2f..%2f", "minilm/../../", "minilm/%2e%2e/%2e%2e/")
    ]
    outside += ["/models/minilm//etc/passwd", "/models/%2fetc/passwd", "/fleet.sqlite", "/", "//", "/box"]
    with raw(scene.gateway) as connection:
        for path in outside:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n\r\n".encode()
            )
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 404"), (path, answer)
            assert b"secret" not in answer
            connection.close()
            connection = raw(scene.gateway)


def test_models_are_those_of_the_boxes_tasks_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: a name is compared with what the tasks need and models.yaml names, and is no path before."""
    monkeypatch.setenv("MEDIAFLOW_FLEET__ENABLED", "true")
    monkeypatch.setenv("MEDIAFLOW_FLEET__LIBRARIES", "{default: [nsfw]}")
    monkeypatch.setenv("MEDIAFLOW_FLEET__GATEWAY__LISTEN", "127.0.0.1")
    if not (installed("open-nsfw") and installed("whisper-base")):
        missing("scripts/setup --models fetches the models")
    mine, others = find_model("open-nsfw").files[0], find_model("whisper-base").files[0]
    server = embedded.start()
    try:
        with gateway_process(home) as gateway:
            box = gateway.client(enter_box(BOX))
            url = f"/models/open-nsfw/{mine.name}"
            whole = box.ask("GET", url).content
            assert hashlib.sha256(whole).hexdigest() == mine.sha256
            part = box.ask("GET", url, headers={"range": "bytes=100-199"})
            assert (part.status_code, part.content) == (206, whole[100:200])
            for name in (
                f"whisper-base/{others.name}", f"open-nsfw/..%2fwhisper-base%2f{others.name}", "open-nsfw/",
                f"open-nsfw/.%2f{mine.name}", "open-nsfw", "nothing/model.bin", f"open-nsfw/{mine.name}%00",
            ):  # fmt: skip
                assert status(box, "GET", f"/models/{name}") == 404, name
            until(lambda: box_of(BOX).bytes == len(whole) + 100, "what was sent is counted, and no more")
            middle = len(whole) // 2
            for rest in (f"bytes={middle}-", f"bytes={middle}-{len(whole)}"):
                part = box.ask("GET", url, headers={"range": rest})
                assert part.headers["content-range"] == f"bytes {middle}-{len(whole) - 1}/{len(whole)}"
                assert (part.status_code, part.content) == (206, whole[middle:])
            beyond = box.ask("GET", url, headers={"range": f"bytes={len(whole)}-"})
            assert beyond.status_code == 416
            assert [status(box, "GET", url) for _ in range(2)] == [200, 404], "three times its size"
    finally:
        embedded.stop(server)


def test_an_item_is_looked_at_again_when_it_is_handed_out(scene: Scene) -> None:
    """Guard: a job that was enqueued when its library could leave does not take its files along later."""
    hashes = scene.enqueue(2, library="private")
    [hash] = scene.enqueue(1)
    assert [item["item"]["asset"] for item in scene.box.take()] == [hash]
    until(lambda: sorted(scene.sent_home()) == hashes, "the others are to be done here")


def test_other_queues_and_tasks_give_nothing(scene: Scene) -> None:
    """Guard: only tasks that boxes may have are taken from, by workers that run nothing but `analyse`."""
    with closing(connect()) as client:
        prepare = NewJob("run1-prepare-1", "jobs.stages.prepare", (1, [1], ["look"]), "private")
        enqueue(client, "prepare", [prepare])
    with ThreadPoolExecutor(4) as pool:
        tasks = ("prepare", "index", "../look", "ocr")
        asked = pool.map(
            lambda task: status(scene.box, "POST", "/box/take", json={"task": task, "most": 10}), tasks
        )
        assert list(asked) == [404] * 4
    with closing(connect()) as client:
        assert queue("prepare", client).get_job_ids() == ["run1-prepare-1"]


# --- findings that are not findings (guard: jobs/schema.py at the door; what breaks it is done here) ------


BAD_VECTORS = {
    "another space": [{"space": "e5", "ordinal": 0, "value": vector_of([0.6, 0.8, 0.0])}],
    "no numbers": [{"space": "colours", "ordinal": 0, "value": vector_of([float("nan")] * 3)}],
    "infinite": [{"space": "colours", "ordinal": 0, "value": vector_of([float("inf"), 0, 0])}],
    "not of unit length": [{"space": "colours", "ordinal": 0, "value": vector_of([6, 8, 0])}],
    "no base64": [{"space": "colours", "ordinal": 0, "value": "@@@@"}],
    "two of one number": [{"space": "colours", "ordinal": 0, "value": vector_of([1, 0, 0])}] * 2,
    "a key more": [{"space": "colours", "ordinal": 0, "value": vector_of([1, 0, 0]), "asset": "b" * 64}],
    "no list": {"space": "colours"},
    "more than pictures": [{"space": "colours", "ordinal": n, "value": vector_of([1, 0, 0])} for n in (0, 1)],
    "missing": None,
}
BAD_DATA: dict[str, Any] = {
    "nested deep": None,
    "no object": ["colour"],
    "a letter that is none": {"colour": "\ud800"},
    "a NUL": {"colour": "gr\0ey"},
    "huge": {"colour": "x" * 200_000},
    "missing": None,
}
deep: Any = "grey"
for _ in range(100):
    deep = {"colour": deep}
BAD_DATA["nested deep"] = deep


def test_findings_that_break_the_rules_are_done_here_and_nothing_of_them_goes_on(scene: Scene) -> None:
    bad = [{"vectors": vectors} for vectors in BAD_VECTORS.values()]
    bad += [{"data": data} for data in BAD_DATA.values()]
    bad += [{"seconds": seconds} for seconds in (-1, 1e300, "0.1", None, True)]
    hashes = scene.enqueue(2 * len(bad))
    items = until(lambda: scene.box.take(most=100), "items")
    # Not so many at once that the box is ended.
    for item, good, changes in zip(items[::2], items[1::2], bad, strict=True):
        body = json.dumps({"results": [finding(item["id"]) | changes]})
        answered = status(scene.box, "POST", "/box/results", content=body)
        assert answered in (200, 400), changes  # what is no JSON of this form is refused whole
        if answered == 400:
            scene.box.answer({"id": item["id"], "reason": "it was refused"})
        assert scene.box.answer(finding(good["id"])) == 1
    until(lambda: len(scene.stored()) + len(scene.sent_home()) == len(hashes), "all is told")
    said = [result for result in scene.stored() if "reason" in result]
    assert [set(result) for result in said] == [{"asset", "box", "permanent", "reason"}] * len(said)
    assert {result["box"] for result in said} == {BOX}, "it is known whose they were"
    assert len(said) + len(scene.sent_home()) == len(bad)


def test_a_box_that_does_nothing_of_what_it_takes_is_ended_and_the_rest_goes_back(scene: Scene) -> None:
    """Guard: answers without a finding are counted by box and task."""
    for _ in range(20):
        scene.enqueue(16)
    answered = 0
    while box_of(BOX).trouble == "":
        items = scene.box.post("take", task="look", most=1000)["items"]
        said = "CUDA error: an illegal memory access was encountered"
        answered += scene.box.answer(*({"id": item["id"], "reason": said} for item in items))
    assert answered == 21
    assert box_of(BOX).trouble == "21 of its last 21 answers about look are no findings"
    assert scene.box.post("beat", busy={}, log="")["order"] == "end"
    time.sleep(1)
    assert scene.box.post("hello", hardware={}, checks=[], well=True)
    assert box_of(BOX).trouble, "it cannot say that it is well again"
    scene.other.hello()
    done = 0
    while done < 20 * 16 - answered:
        items = scene.other.take(most=1000)
        done += scene.other.answer(*(finding(item["id"]) for item in items))
    assert len(scene.sent_home()) == answered, "no other box was there then"


def test_a_box_is_not_believed_to_be_far_faster_than_its_gpu_can_be(scene: Scene) -> None:
    """Guard: what is measured of a box is bounded by what is guessed of its GPU."""
    for _ in range(10):
        scene.enqueue(100)
        items = scene.box.take(most=1000)
        scene.box.answer(*(finding(item["id"]) for item in items))
    most = 10 * Speeds().rate("RTX 4090", "look")

    def rate() -> float:
        with closing(ledger.open_ledger()) as db:
            return ledger.rates(db).get(("RTX 4090", "look"), 0.0)

    assert until(rate, "it is measured") <= most * 1.001


def test_a_box_that_now_and_then_cannot_is_not_ended(scene: Scene) -> None:
    scene.enqueue(80)
    for number, item in enumerate(scene.box.take(most=1000)):
        reason = {"id": item["id"], "reason": "out of memory"}
        assert scene.box.answer(finding(item["id"]) if number % 2 else reason) == 1
    assert box_of(BOX).trouble == ""


def test_nothing_but_the_finding_passes(scene: Scene) -> None:
    """Guard: the asset, the box and the fate of an item are said by this machine; more keys are refused."""
    [hash] = scene.enqueue(1)
    [item] = scene.box.take()
    extras: list[dict[str, Any]] = [
        {"asset": "b" * 64}, {"box": OTHER}, {"permanent": True}, {"blameless": True}, {"check": OTHER},
        {"source": "ocr"}, {"home": "x"}, {"__reduce__": ["os.system", "id"]}, {"py/object": "os.system"},
    ]  # fmt: skip
    for extra in extras:
        body = {"results": [finding(item["id"]) | extra]}
        assert status(scene.box, "POST", "/box/results", json=body) == 400, extra
    assert scene.box.answer(finding(item["id"])) == 1
    [stored] = until(scene.stored, "it is stored")
    assert {key: stored[key] for key in ("asset", "box")} == {"asset": hash, "box": BOX}
    assert set(stored) <= {"asset", "box", "data", "vectors", "seconds", "source"}


def test_no_field_runs_code(scene: Scene) -> None:
    """Guard: JSON in a fixed form, nothing is unpickled or evaluated; RQ's allow-list behind it."""
    mark = scene.home / "ran"
    pickled = f"cos\nsystem\n(S'touch {mark}'\ntR."
    texts = [pickled, f"$(touch {mark})", f"`touch {mark}`", f"__import__('os').system('touch {mark}')"]
    texts += [f"!!python/object/apply:os.system ['touch {mark}']", "${jndi:ldap://x}"]
    scene.enqueue(len(texts))
    for item, text in zip(scene.box.take(most=100), texts, strict=True):
        time.sleep(0)
        scene.box.answer({"id": item["id"], "reason": text})
        scene.box.post("beat", busy={}, log=text)
        assert status(scene.box, "POST", "/box/take", json={"task": text, "most": 1, "func": text}) == 400
        assert status(scene.box, "POST", "/box/results", content=pickled) == 400
        assert status(scene.box, "POST", f"/box/{quote(text)}", content=pickled) == 404
    time.sleep(1)
    scene.box.hello(gpu=texts[0], driver={"x": texts})
    until(lambda: len(scene.sent_home()) == len(texts), "they are done here")
    assert not mark.exists()


def test_no_path_of_a_request_reaches_a_terminal_as_it_is(scene: Scene) -> None:
    """Guard: what is logged of a request is printable."""
    with closing(sqlite3.connect(scene.home / "fleet.sqlite")) as db:
        db.execute("ALTER TABLE boxes RENAME TO elsewhere")
        assert status(scene.box, "GET", "/models/x/%1b]0;pwned%07") >= 500
        db.execute("ALTER TABLE elsewhere RENAME TO boxes")
    until(lambda: "pwned" in scene.gateway.log.read_text(), "it is logged")
    assert "\x1b" not in scene.gateway.log.read_text()


# --- too much (guards: sizes before and while reading, one reading at a time, limits on time and number) ---


def test_large_requests_are_refused_before_they_are_read(scene: Scene) -> None:
    scene.enqueue(4)
    scene.box.take()
    before = scene.gateway.memory_mb()
    for what in ("hello", "take", "results", "beat"):
        with raw(scene.gateway) as connection:
            head = f"POST /box/{what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n"
            connection.sendall(f"{head}Content-Length: {10**9}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert scene.gateway.memory_mb() - before < 20
    scene.is_well()


def test_a_body_without_end_is_cut_when_it_is_too_long(scene: Scene) -> None:
    scene.enqueue(4)
    scene.box.take()
    before = scene.gateway.memory_mb()
    for what in ("hello", "results"):
        sent = 0
        with raw(scene.gateway) as connection, suppress(OSError):
            head = f"POST /box/{what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            while sent < 500 * MEGABYTE:
                connection.sendall(chunk)
                sent += 65536
        assert sent < 60 * MEGABYTE
    assert scene.gateway.memory_mb() - before < 60
    scene.is_well()


def test_json_that_would_become_large_is_refused_before_it_is_read(scene: Scene) -> None:
    """Guard: its values are counted. 30 MB of empty lists would take 2 GB."""
    scene.enqueue(300)
    until(lambda: len(scene.box.take(most=1000)) > 200, "so many are in hand that an answer may be large")
    before = scene.gateway.memory_mb()
    body = b'{"results": [' + b"[]," * 9_000_000 + b"[]]}"
    assert status(scene.box, "POST", "/box/results", content=body) in (400, 413)
    assert scene.gateway.memory_mb() - before < 150
    nested = b"[" * 1_000_000
    assert status(scene.box, "POST", "/box/results", content=nested) == 400
    scene.is_well()


def test_of_large_bodies_one_at_a_time_is_held_and_small_ones_do_not_wait(scene: Scene) -> None:
    scene.other.hello()
    for client, task in ((scene.box, "look"), (scene.other, "late")):
        scene.enqueue(400, task)
        assert len(client.take(task, most=1000)) == 400
    before = scene.gateway.memory_mb()
    connections = [raw(scene.gateway) for _ in range(2)]
    try:
        for connection, token in zip(connections, (scene.token, scene.others_token), strict=True):
            head = f"POST /box/results HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(f"{head}Content-Length: {20 * MEGABYTE}\r\n\r\n".encode())
            connection.settimeout(3)
            with suppress(OSError):
                connection.sendall(b" " * 19 * MEGABYTE)
        assert scene.gateway.memory_mb() - before < 30
    finally:
        for connection in connections:
            connection.close()
    scene.is_well()


def test_who_asks_too_often_is_refused(scene: Scene) -> None:
    """Guard: a limit of requests a second for each box."""
    answered = {status(scene.box, "POST", "/box/beat", json={}) for _ in range(100)}
    assert answered == {200, 429}
    assert scene.other.post("hello", hardware={}, checks=[], well=True), "others are served"


def test_compressed_bodies_are_refused(scene: Scene) -> None:
    bomb = gzip.compress(b"[" + b"0," * 5_000_000 + b"0]")
    before = scene.gateway.memory_mb()
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        headers = {"content-encoding": encoding}
        assert status(scene.box, "POST", "/box/beat", content=bomb, headers=headers) == 415
    assert scene.gateway.memory_mb() - before < 20


def test_answers_are_no_larger_than_their_items_allow(scene: Scene) -> None:
    """Guard: an allowance for each item, so that neither Redis nor the catalog fills."""
    scene.enqueue(20)
    items = scene.box.take(most=1000)
    large = {"colour": "x" * 100_000}
    for item in items:
        scene.box.answer(finding(item["id"], data=large))
    until(lambda: len(scene.sent_home()) == len(items), "all of them are done here")
    assert scene.stored() == []


def test_no_more_is_given_out_while_the_queue_could_not_take_the_results(scene: Scene) -> None:
    scene.enqueue(2)
    with closing(connect()) as client:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", int(used * 1.1))
        time.sleep(1.5)
        assert scene.box.post("take", task="look", most=1)["items"] == []
        client.config_set("maxmemory", 0)
    assert scene.box.take()


def test_large_heads_are_refused(scene: Scene) -> None:
    before = scene.gateway.memory_mb()
    for head in (
        b"GET /" + b"a" * MEGABYTE,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)),
        b"GET / HTTP/1.1\r\nX: " + b"y" * MEGABYTE,
    ):
        with raw(scene.gateway) as connection:
            with suppress(OSError):
                connection.sendall(head)
            assert is_cut(connection, 20)
    assert scene.gateway.memory_mb() - before < 20
    scene.is_well()


def test_those_who_never_come_to_the_point_are_cut(scene: Scene) -> None:
    """Guard: a time limit on the handshake, the head of a request, and its body."""

    def dribble(*parts: bytes) -> bool:
        with raw(scene.gateway) as connection:
            started = time.monotonic()
            for part in parts:
                connection.sendall(part)
            while time.monotonic() - started < 60:
                try:
                    connection.sendall(b"x")
                except OSError:
                    return True
                time.sleep(0.5)
        return False

    def silent() -> bool:
        with socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=60) as plain:
            plain.sendall(b"\x16\x03")
            try:
                return plain.recv(1) == b""
            except ConnectionError:
                return True

    good = f"POST /box/beat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n"
    first = good.encode() + b"Content-Length: 2\r\n\r\n{}"
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(dribble, b"GET / HTTP/1.1\r\nX: "), pool.submit(silent)]
        tries.append(pool.submit(dribble, first, b"GET / HTTP/1.1\r\nX: "))  # the second request on it
        assert all(each.result() for each in tries)


def test_a_flood_of_connections_is_bounded_and_leaves_the_gateway_well(scene: Scene) -> None:
    """Guard: so many at once, and so many from one address; who comes then is turned away."""
    before = scene.gateway.memory_mb()
    files = Path(f"/proc/{scene.gateway.process.pid}/fd")
    open_: list[socket.socket] = []
    try:
        most = 0
        for number in range(3000):
            with suppress(OSError):
                open_.append(socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=5))
            if number % 100 == 0:
                most = max(most, len(list(files.iterdir())))
        assert most < 200
        assert scene.gateway.memory_mb() - before < 50
    finally:
        for connection in open_:
            connection.close()
    until(lambda: status(scene.other, "POST", "/box/beat", json={}) == 200, "others come in again")
    scene.is_well()


def test_a_client_that_does_not_take_its_answer_holds_little(scene: Scene) -> None:
    """Guard: what is sent is read from the disk as it is taken."""
    [hash] = scene.enqueue(1)
    folder = rendition_folder(hash)
    with (folder / "page-1.jpg").open("ab") as file:
        file.write(os.urandom(100 * MEGABYTE))
    [item] = scene.box.take()
    before = scene.gateway.memory_mb()
    connections = [raw(scene.gateway) for _ in range(5)]
    for connection in connections:
        head = f"GET {item['link']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {scene.token}\r\n\r\n"
        connection.sendall(head.encode())
    time.sleep(3)
    assert scene.gateway.memory_mb() - before < 60
    for connection in connections:
        connection.close()
    scene.is_well()


def test_what_a_box_says_of_itself_is_cut_short_and_printable(scene: Scene) -> None:
    """Guard: so many bytes of log, so much hardware, so many events; no control characters for a terminal."""
    for _ in range(150):
        body = {"busy": {}, "log": "\x1b[2J\x07" + "spam " * 12_000}
        assert status(scene.box, "POST", "/box/beat", json=body) in (200, 429)
    log = scene.home / "logs" / f"box-{BOX}.log"
    assert log.stat().st_size < 1_200_000
    assert all(letter.isprintable() for letter in log.read_text().replace("\n", ""))
    for number in range(12):
        answered = status(scene.box, "POST", "/box/hello", json={
            "hardware": {"gpu": "\x1b]0;x\x07" + "y" * 3000, "n": list(range(5000)), str(number): {"a": {}}},
            "checks": [{"name": "x", "ok": False, "said": "\x1b[31m" + "z" * 4000}] * 20, "well": True,
        })  # fmt: skip
        assert answered in (200, 413, 429)
    known = box_of(BOX)
    text = json.dumps(known.hardware)
    assert len(text) < 9000
    assert "\\u001b" not in text
    assert status(scene.box, "POST", "/box/hello", content=b"x" * 100 * MEGABYTE) in (0, 413)


def test_a_flood_does_not_wash_away_what_a_box_said_before(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "LOG_SECONDS", -1.0)
    enter_box(BOX)
    gateways = boxes.Boxes()
    gateways.add_to_log(BOX, "the evidence")
    for _ in range(300):
        gateways.add_to_log(BOX, ("spam " * 80 + "\n") * 20)
    gateways.add_to_log(BOX, "the end")
    log = boxes.log_of(BOX)
    assert log.stat().st_size < 1_100_000
    lines = log.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("the evidence", "the end")


def test_the_log_of_a_box_is_added_to_now_and_then(scene: Scene) -> None:
    for number in range(5):
        scene.box.post("beat", busy={}, log=f"line {number}")
    log = scene.home / "logs" / f"box-{BOX}.log"
    assert log.read_text() == "line 0\n"


def test_a_box_that_only_takes_keeps_nothing_from_others(scene: Scene) -> None:
    """Guard: items that are not answered go back, at the latest when its lease is not renewed."""
    hashes = scene.enqueue(4)
    scene.box.take()
    change_box(BOX, lease=1.0)
    scene.other.hello()
    assert sorted(item["item"]["asset"] for item in scene.other.take()) == hashes


# --- around it -------------------------------------------------------------------------------------


def test_the_queue_cannot_be_reached_but_from_this_machine(scene: Scene) -> None:
    """Guard: Valkey listens on loopback, and wants a password there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; says which address would be used
        address = probe.getsockname()[0]
    assert not address.startswith("127.")
    port = int(str(redis_url()).rpartition(":")[2].partition("/")[0])
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address, port), timeout=5):
        pass
    with closing(Redis(port=port)) as stranger, pytest.raises(Exception, match="(?i)auth"):
        stranger.ping()


def test_plain_http_and_old_tls_are_not_spoken(scene: Scene) -> None:
    with socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=30) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {scene.token}\r\n\r\n".encode())
        with suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)
    old = ssl.create_default_context(cadata=gateway_certificate().pem())
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=30) as plain,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(plain, server_hostname="mediaflow-gateway")


def test_a_box_gets_no_secret_with_its_settings(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    time.sleep(1)
    told = json.dumps(scene.box.hello())
    for secret in (
        str(redis_url()),
        str(scene.home),
        scene.others_token,
        "PRIVATE KEY",
        "password",
        "api_key",
    ):
        assert secret not in told
