"""The commands `mediaflow fleet …`: GPU boxes that are rented when there is work worth it."""

from __future__ import annotations

import typer

from mediaflow.cli.fleet_simulate import simulate

fleet_app = typer.Typer(help="GPU boxes: what is rented, why, and what it costs.", no_args_is_help=True)
fleet_app.command()(simulate)
