"""`python -m mediaflow.fleet.simulator.played [--lies] [--ahead SECONDS] MODULE`: a box with a fault.

A liar changes what the box sends as its findings, whoever's code the box runs; the form stays right. A box
that is ahead has a clock that is wrong by so much.
"""

from __future__ import annotations

import argparse
import base64
import json
import runpy
import sys
import time
from typing import Any


def main() -> None:
    """Run the module as `python -m` would, with the faults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lies", action="store_true")
    parser.add_argument("--ahead", type=float, default=0.0)
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.lies:
        _lie()
    if options.ahead:
        _be_ahead(options.ahead)
    sys.argv = [options.module, *options.arguments]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


def changed(value: Any) -> Any:
    """Another value of the same form: shares turned round, texts and lists of numbers backwards."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float) and 0 <= value <= 1:
        return 1 - value
    if isinstance(value, str):
        return value[::-1]
    if isinstance(value, list):
        if value and all(isinstance(each, float) for each in value):
            return value[::-1]
        return [changed(each) for each in value]
    if isinstance(value, dict):
        return {name: changed(each) for name, each in value.items()}
    return value


def lied(result: dict[str, Any]) -> dict[str, Any]:
    """A finding of the same form that is not true: other data, and vectors with their values backwards."""
    if "data" not in result:
        return result
    vectors = [vector | {"value": _backwards(vector["value"])} for vector in result["vectors"]]
    return result | {"data": changed(result["data"]), "vectors": vectors}


def _backwards(value: str) -> str:
    raw = base64.b64decode(value)
    numbers = [raw[at : at + 2] for at in range(0, len(raw), 2)]  # float16
    return base64.b64encode(b"".join(reversed(numbers))).decode()


def _lie() -> None:
    import httpx2

    build = httpx2.Client.build_request

    def lying(client: httpx2.Client, method: str, url: Any, **options: Any) -> httpx2.Request:
        if str(url).endswith("/box/results"):
            body = options["json"] if options.get("json") else json.loads(options.pop("content"))
            options["json"] = body | {"results": [lied(result) for result in body["results"]]}
        return build(client, method, url, **options)

    setattr(httpx2.Client, "build_request", lying)  # noqa: B010 - it is not of that form


def _be_ahead(seconds: float) -> None:
    true = time.time
    time.time = lambda: true() + seconds


if __name__ == "__main__":
    main()
