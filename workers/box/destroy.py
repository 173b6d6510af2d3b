"""The box's own end: it asks Vast.ai to destroy the machine it runs on, with a key that can do no more."""

from __future__ import annotations

import logging
import random
import time

import httpx2

from workers.box.birth import Birth

log = logging.getLogger("mediaflow.box")

TRY_SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 20.0


def destroy_self(birth: Birth, seconds: float = TRY_SECONDS) -> bool:
    """Ask until Vast.ai says that it is so, `seconds` at most; True when it said so.

    DELETE /api/v0/instances/ID/. Nothing is asked where there is no container to destroy.
    """
    if not birth.container or not birth.container_key:
        log.info("There is no container to destroy.")
        return False
    url = f"{birth.market}/api/v0/instances/{birth.container}/"
    until, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        said = _ask(url, birth.container_key)
        if not said:
            log.info("The box is destroyed.")
            return True
        log.warning("The box could not be destroyed: %s", said)
        if time.monotonic() + pause > until:
            return False
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, LONGEST_PAUSE)


def _ask(url: str, key: str) -> str:
    """One request; what went wrong, in words."""
    headers = {"Authorization": f"Bearer {key}"}
    try:
        response = httpx2.request("DELETE", url, headers=headers, json={}, timeout=30.0)
    except httpx2.TransportError as error:
        return type(error).__name__
    # A wrong key is answered with 404 too, but with a code of its own.
    gone = response.status_code == 404 and "auth" not in response.text
    return "" if response.status_code == 200 or gone else f"HTTP {response.status_code}"
