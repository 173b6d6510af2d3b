"""`mediaflow fleet simulate`: the market of boxes, played."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from mediaflow.cli.arguments import Json
from mediaflow.cli.output import note, print_json


def simulate(
    serve: Annotated[
        bool, typer.Option("--serve", help="Be a server that speaks Vast.ai's interface.")
    ] = False,
    port: Annotated[int, typer.Option(help="Its port on 127.0.0.1; 0 is any free one.")] = 0,
    key: Annotated[str, typer.Option(help="The account's API key.")] = "simulated",
    haste: Annotated[float, typer.Option(min=1, help="How many times faster than real boxes load.")] = 60.0,
    credit: Annotated[float, typer.Option(help="Dollars on the account.")] = 100.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="usual, none, or NAME[=TIMES]; several may be given.")
    ] = None,
    box: Annotated[str, typer.Option(help="The command of a box, if another than mediaflow's.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed is another market.")] = 1,
    json: Json = False,
) -> None:
    """Play the market of boxes: as a server, or a month of it in simulated time."""
    from mediaflow.fleet.simulator.faults import read_faults

    usual, forced = read_faults(fault or [])
    if serve:
        from mediaflow.fleet.simulator.processes import BOX
        from mediaflow.fleet.simulator.serve import serve as serve_market

        def ready(url: str) -> None:
            if json:
                print_json({"url": url, "key": key})
                sys.stdout.flush()
            note(f"The market is at {url}: VAST_URL={url} VAST_API_KEY={key} - Ctrl-C ends it.")

        command = shlex.split(box) or BOX
        serve_market(
            port,
            seed,
            usual=usual,
            forced=forced,
            haste=haste,
            credit=credit,
            key=key,
            command=command,
            ready=ready,
        )
