"""The command `mediaflow`: puts the groups of commands together and turns errors into messages."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from mediaflow.cli import catalog, doctor, export, failures, fleet, models, processes, search, streams, submit
from mediaflow.cli import list as listing
from mediaflow.errors import MediaflowError
from mediaflow.privacy import keep_private

EXIT_STATUS = """\b
Exit status:
  0  done
  1  done, but some files failed
  2  wrong usage or configuration; nothing was done
  3  a needed part (queue, catalog, model) cannot be reached or used
"""

app = typer.Typer(
    help="Make a pile of photos, scans, videos and recordings searchable.",
    epilog=EXIT_STATUS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models.app, name="models")
app.add_typer(catalog.index_app, name="index")
app.add_typer(fleet.fleet_app, name="fleet")
# A function cannot be called after a built-in type that its module needs.
names = {listing.list_files: "list"}
for group in (submit, search, listing, catalog, export, failures, processes, doctor):
    epilogs = getattr(group, "epilogs", {})
    for command in group.commands:
        app.command(names.get(command), epilog=epilogs.get(command))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"mediaflow {version('mediaflow')}")
        except PackageNotFoundError:
            print("mediaflow, run from a folder without being installed: it has no version")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Options that stand before the command."""
    del version  # its callback has answered
    if debug:
        os.environ["MEDIAFLOW_DEBUG"] = "1"


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 done with failed files, 2 wrong usage, 3 unreachable."""
    streams.prepare()
    # Being told to end is like Ctrl-C: what was started for this command is stopped in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    keep_private()
    status: int | None = 0
    try:
        status = _run()
        sys.stdout.flush()
    except streams.ReaderGone:
        pass
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        if os.environ.get("MEDIAFLOW_DEBUG"):
            raise
        message, status = _explained(error)
        print(f"mediaflow: {message}", file=sys.stderr)
    with suppress(streams.ReaderGone, streams.OutputError):
        sys.stdout.flush()
    sys.exit(status)


def _run() -> int | None:
    """The exit status of the command that the arguments name."""
    try:
        app(prog_name="mediaflow")
    except SystemExit as end:  # how Typer ends
        if isinstance(end.code, str):
            raise
        return end.code
    return 0


def _explained(error: Exception) -> tuple[str, int]:
    """The message and the exit status for an error."""
    if isinstance(error, MediaflowError):
        # The reason of a library may be a sentence of its own, with its full stop.
        return re.sub(r"(?<=[\w)])\.\.(?=\s|$)", ".", str(error)), error.exit_status
    return _unforeseen(error), MediaflowError.exit_status


def _unforeseen(error: Exception) -> str:
    """The meaning of an error of a library that was not translated where it entered."""
    from mediaflow.access import denial
    from mediaflow.disk import refusal
    from mediaflow.settings import home

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return str(refusal(home(), error))
    if isinstance(error, PermissionError) and error.filename:
        return denial(error.filename)
    if said := _of_the_queue(error):
        return said
    said = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {said} (mediaflow --debug says where)"


def _of_the_queue(error: Exception) -> str:
    """The meaning of an error of Redis or Valkey in the middle of a command; empty for any other."""
    redis = sys.modules.get("redis")
    if redis is None or not isinstance(error, redis.RedisError):
        return ""
    from mediaflow.queues.connection import explain

    return f"The queue does not answer as it should: {explain(error)}. Nothing is lost: do it again later."
