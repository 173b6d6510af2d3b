"""The command `mediaflow`: puts the groups of commands together and turns errors into messages."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from mediaflow.cli import catalog, doctor, failures, fleet, models, processes, search, submit
from mediaflow.errors import MediaflowError
from mediaflow.privacy import keep_private

app = typer.Typer(
    help="Make a pile of photos, scans, videos and recordings searchable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.add_typer(models.app, name="models")
app.add_typer(catalog.index_app, name="index")
app.add_typer(fleet.fleet_app, name="fleet")
for group in (submit, search, catalog, failures, processes, doctor):
    for command in group.commands:
        app.command()(command)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    if debug:
        os.environ["MEDIAFLOW_DEBUG"] = "1"


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 done with failed files, 2 wrong usage, 3 unreachable."""
    # Being told to end is like Ctrl-C: what was started for this command is stopped in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    keep_private()
    try:
        app()
    except MediaflowError as error:
        if os.environ.get("MEDIAFLOW_DEBUG"):
            raise
        print(f"mediaflow: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away, as `| head` does. Nothing more can be written, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        # A library's error that nobody foresaw, as a disk that fails while the catalog is read.
        if os.environ.get("MEDIAFLOW_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            from mediaflow.disk import refusal
            from mediaflow.settings import home

            print(f"mediaflow: {refusal(home(), error)}", file=sys.stderr)
            sys.exit(MediaflowError.exit_status)
        if said := _of_the_queue(error):
            print(f"mediaflow: {said}", file=sys.stderr)
            sys.exit(MediaflowError.exit_status)
        said = " ".join(str(error).split()) or "no reason given"
        print(f"mediaflow: {type(error).__name__}: {said} (mediaflow --debug says where)", file=sys.stderr)
        sys.exit(MediaflowError.exit_status)


def _of_the_queue(error: Exception) -> str:
    """What an error of Redis or Valkey in the middle of a command means; empty for any other."""
    redis = sys.modules.get("redis")
    if redis is None or not isinstance(error, redis.RedisError):
        return ""
    from mediaflow.queues.connection import explain

    return f"The queue does not answer as it should: {explain(error)}. Nothing is lost: do it again later."
