"""The child of a worker: loads one task's models, and analyses what the worker hands it.

Only here do models and originals meet native code. It may crash, hang or grow at any moment; the
worker notices (see `watch.py`). It tells the worker which items it is about to touch, so that the
guilty one is known.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from mediaflow.errors import MediaError, MediaflowError, NotMediaError, StorageError
from mediaflow.lifeline import end_with_parent
from mediaflow.settings import home
from workers.channel import Channel, ChannelClosed

Item = dict[str, Any]
Result = dict[str, Any]


class Handler(Protocol):
    """What a child does with items: one handler for each kind of queue; it gets `together` at once."""

    together: int

    def load(self) -> None: ...

    def handle(self, items: Sequence[Item]) -> list[Result]: ...


def serve(channel: Channel, handler: Handler) -> None:
    """Load, then answer batches until the worker closes the channel."""
    try:
        handler.load()
    except MediaflowError as error:
        channel.send({"broken": str(error)})
        return
    channel.send({"ready": True})
    while True:
        message = channel.receive()
        assert message is not None
        _answer(channel, handler, message["items"])


def _answer(channel: Channel, handler: Handler, items: list[Item]) -> None:
    for first in range(0, len(items), handler.together):
        _answer_together(channel, handler, items, range(first, min(first + handler.together, len(items))))


def _answer_together(channel: Channel, handler: Handler, items: list[Item], part: range) -> None:
    channel.send({"begin": list(part)})
    started = time.monotonic()
    try:
        results = handler.handle([items[index] for index in part])
    except Exception as error:
        if trouble := storage_trouble(error):
            channel.send({"trouble": trouble})
            return
        if len(part) == 1:
            channel.send({"index": part[0], "result": refusal(error)})
            return
        # One of them spoils the rest: each on its own tells which.
        for index in part:
            _answer_together(channel, handler, items, range(index, index + 1))
        return
    each = (time.monotonic() - started) / len(part)
    for index, result in zip(part, results, strict=True):
        channel.send({"index": index, "result": {"seconds": each} | result})


def storage_trouble(error: Exception) -> str:
    """What is amiss with a disk, where that is why an item could not be analysed; empty otherwise."""
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return f"{error.filename or home()} cannot be written: {error.strerror}"
    return ""


def refusal(error: Exception) -> Result:
    """The result that says why an item could not be analysed."""
    if isinstance(error, NotMediaError):
        return {"reason": str(error), "permanent": True, "skip": True}
    if isinstance(error, MediaError):
        return {"reason": str(error), "permanent": error.permanent, "blameless": error.blameless}
    if isinstance(error, MemoryError):
        return {"reason": "not enough memory to analyse it", "permanent": False}
    if isinstance(error, MediaflowError):
        return {"reason": str(error), "permanent": False}
    return {"reason": f"{type(error).__name__}: {error}", "permanent": False}


def main(descriptor: int, queue: str) -> None:
    """Run the child of a worker for `queue` over the socket `descriptor`."""
    from jobs.handlers import handler_for

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    end_with_parent(signal.SIGKILL)
    # When memory runs out, the kernel should take this process before all others.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    os.nice(5)
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    with contextlib.suppress(ChannelClosed):
        serve(channel, handler_for(queue))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
