"""`python -m mediaflow.fleet [PARENT]`: the controller as a process of `mediaflow up`.

PARENT is the pid of the process without which it is to end all boxes and itself.
"""

from __future__ import annotations

import signal
import sys

from mediaflow.errors import MediaflowError
from mediaflow.fleet.run import run
from mediaflow.fleet.settings import load_fleet
from mediaflow.lifeline import Stop, end_with_parent
from mediaflow.privacy import keep_private


def main() -> int:
    """Be the controller; returns the exit status."""
    keep_private()
    stop = Stop(signal.SIGTERM, signal.SIGINT)
    if len(sys.argv) > 1:
        end_with_parent(signal.SIGTERM, int(sys.argv[1]))
    try:
        end = run(load_fleet(), lambda said: print(said, file=sys.stderr, flush=True), stop)
        return 0 if end.is_clear else 3
    except MediaflowError as error:
        print(error, file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
