"""`python -m workers.box`: what a box does from its first check to its own end."""

from __future__ import annotations

import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mediaflow.errors import MediaflowError, ModelError
from mediaflow.privacy import keep_private
from workers.box.answers import Answers
from workers.box.beat import Beats, Said
from workers.box.birth import Birth, read_birth
from workers.box.checks import look, look_at_link
from workers.box.destroy import destroy_self
from workers.box.life import Life, Over
from workers.box.link import Link
from workers.box.models import bring_models
from workers.box.renditions import Renditions
from workers.box.serve import Serving
from workers.box.settings import adopt

log = logging.getLogger("mediaflow.box")

# Renditions that are fetched at the same time: a link of 100 ms brings each of them no sooner.
FETCHING = 16


def main() -> int:
    """Be a box; returns the exit status: 0 when it was told to end, or its time was over."""
    keep_private()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for library in ("httpx2", "httpcore2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        birth = read_birth()
    except MediaflowError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    life = Life(birth.hours, birth.silence_minutes, birth.heartbeat)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.end("it was told to stop"))
    status = 0
    try:
        _live(birth, life)
    except Over:
        pass
    except Exception:
        log.exception("The box failed")
        status = 3
    log.info("The box ends: %s.", life.reason or "it failed")
    destroy_self(birth)
    return status


def _live(birth: Birth, life: Life) -> None:
    said = Said([birth.token, birth.container_key])
    logging.getLogger().addHandler(said)
    link = Link(birth, life)
    beats = Beats(link, life, said)
    welcome, tasks = _join(birth, life, link, beats)
    log.info("This is %s: %s.", welcome["label"], ", ".join(tasks) or "it has no task")
    answers, renditions = Answers(link, life), Renditions(link, life)
    pool = ThreadPoolExecutor(FETCHING, "fetch")
    all_serving = [Serving(task, link, life, renditions, answers, pool) for task in tasks]
    answers.start()
    beats.ready(all_serving)
    for serving in all_serving:
        serving.start()
    while life.wait(5):
        if all(serving.unable for serving in all_serving):
            life.end("it can do no task")
            beats.beat()
    for serving in all_serving:
        serving.join()
    pool.shutdown(wait=False, cancel_futures=True)
    link.close()  # a fetch that still waits for an answer waits no more


def _join(birth: Birth, life: Life, link: Link, beats: Beats) -> tuple[dict[str, Any], list[str]]:
    """Look at the machine, say hello, fetch the models; the gateway's welcome and the tasks that can be done.

    A machine that will not do says so and is over. Raises Over.
    """
    hardware, checks = look(birth.gpu)
    well = all(check.ok for check in checks)
    welcome = link.hello(hardware, [check.json() for check in checks], well)
    if well:
        beats.start()  # a large model takes longer to come than a silent box is waited for
        tasks = list(welcome["tasks"])
        adopt(welcome["settings"], welcome["models"], tasks, hardware["memory_gb"])
        measured, check = look_at_link(link, tasks)
        checks.append(check)
        well = check.ok
        welcome = link.hello(hardware | measured, [check.json() for check in checks], well)
    if not well:
        bad = next(check for check in checks if not check.ok)
        life.end(f"this machine will not do: {bad.name}: {bad.said}")
        raise Over(life.reason)
    able = []
    for task in welcome["tasks"]:
        log.info("The models of %s are fetched.", task)
        try:
            bring_models(task, link, life)
            able.append(task)
        except ModelError as error:
            log.warning("No %s on this box: %s", task, error)
            beats.unable(task, str(error))
    if welcome["tasks"] and not able:
        life.end("it has the models of no task")
        beats.beat()
        raise Over(life.reason)
    return welcome, able


if __name__ == "__main__":
    sys.exit(main())
