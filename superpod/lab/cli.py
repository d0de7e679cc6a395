"""`superpod lab …`: a thin layer over superpod.lab.Lab."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from superpod import ui
from superpod.errors import SuperpodError
from superpod.lab import deployment, preflight, report, show
from superpod.lab.lab import Lab


@click.group(invoke_without_command=True)
@click.option(
    "--name",
    envvar="SUPERPOD_LAB",
    default="default",
    show_default=True,
    help="Labs of different names run side by side.",
)
@click.pass_context
def lab(context: click.Context, name: str) -> None:
    """The miniature SuperPOD on this machine; without a sub-command: up."""
    context.obj = name
    if context.invoked_subcommand is None:
        context.invoke(up)


def _lab(context: click.Context) -> Lab:
    preflight.require_root()
    return Lab(context.obj)


@lab.command()
@click.option("--nodes", type=int, help="Number of DGX nodes (2, or as many as there are).")
@click.option(
    "--upstream", metavar="URL|PATH", help="Repository of the true NVIDIA/dcgm-exporter instead of the stand-in."
)
@click.option(
    "--release",
    "releases",
    metavar="TAG",
    multiple=True,
    help="What to deploy (4.5.3-4.8.2, or what was deployed); more of them can then be built in the lab.",
)
@click.option(
    "--deploy/--no-deploy", default=True, help="Apply the states, or stop where an administrator would begin."
)
@click.option(
    "--grafana",
    metavar="DEB",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Grafana's package: the states install it on the head, with the dashboards.",
)
@click.option("--boards/--no-boards", default=True, help="Show the dashboards, drawn with Grafana's UI library.")
@click.option("--bare-config", is_flag=True, help="Stop where README begins: nothing of this project is configured.")
@click.pass_context
def up(
    context: click.Context,
    nodes: int | None,
    upstream: str | None,
    releases: tuple[str, ...],
    deploy: bool,
    grafana: Path | None,
    boards: bool,
    bare_config: bool,
) -> None:
    """Start the lab or repair it, deploy into it, and show the result."""
    preflight.check()
    log = ui.open_log(f"lab-{context.obj}-up")
    there = Lab(context.obj, ui.Progress(log), log)
    deployment.up(there, nodes, upstream, deploy, bare_config, releases, grafana)
    show.result(there, deploy and not there.bare, boards)


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show machines, roles, service, version and GPUs. The exit code is 1 unless all is up."""
    found = report.status(_lab(context))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show.table(found)
    sys.exit(0 if found["state"] == "up" else 1)


@lab.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def execute(context: click.Context, node: str, command: tuple[str, ...]) -> None:
    """
    Run COMMAND on a machine, with its output and exit code.

    For example: exec dgx-01 -- nvidia-smi -L
    """
    argv = _lab(context).machine(node).command(command, {"TERM": os.environ.get("TERM", "dumb")})
    sys.stdout.flush()
    os.execvp(argv[0], argv)


@lab.command()
@click.argument("node")
@click.pass_context
def shell(context: click.Context, node: str) -> None:
    """Open a root shell on a machine."""
    prompt = {"TERM": os.environ.get("TERM", "dumb"), "PS1": f"[lab {node}] \\w # "}
    argv = _lab(context).machine(node).command(["bash", "--norc", "-i"], prompt)
    os.execvp(argv[0], argv)


@lab.command(name="run-job")
@click.option("--gpus", default=2, show_default=True, type=click.IntRange(1, 8))
@click.option("--seconds", default=300, show_default=True, type=click.IntRange(1))
@click.option("--node", help="Where it has to run.")
@click.pass_context
def run_job(context: click.Context, gpus: int, seconds: int, node: str | None) -> None:
    """Submit a GPU job as an ordinary user and print its id."""
    click.echo(_lab(context).run_job(gpus, seconds, node))


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("changes", nargs=-1)
@click.pass_context
def roles(context: click.Context, node: str, changes: tuple[str, ...]) -> None:
    """Show a node's BCM roles, after changes: roles dgx-01 -slurmclient"""
    there = _lab(context)
    there.machine(node)
    wrong = [change for change in changes if change[0] not in "+-" or len(change) < 2]
    if wrong:
        raise SuperpodError(f"'{wrong[0]}' is no change of roles; write +ROLE or -ROLE.", 2)
    click.echo(" ".join(there.roles(node, *changes)))


@lab.command()
@click.argument("node")
@click.option("--provision", is_flag=True, help="The disk becomes the image again, as at each boot of a BCM node.")
@click.pass_context
def reboot(context: click.Context, node: str, provision: bool) -> None:
    """Shut a machine down in order and start it again."""
    _lab(context).reboot(node, provision)


@lab.command()
@click.argument("node")
@click.pass_context
def kill(context: click.Context, node: str) -> None:
    """Cut a machine's power; `up` starts it again."""
    _lab(context).kill(node)


@lab.command()
@click.argument("name")
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.pass_context
def fault(context: click.Context, name: str, switch: str) -> None:
    """Switch a fault of the stand-in of CMDaemon."""
    _lab(context).fault(name, switch == "on")


@lab.command()
@click.pass_context
def down(context: click.Context) -> None:
    """Take the lab down; nothing of it stays but the cached image."""
    _lab(context).down()
    click.echo(f"The lab '{context.obj}' is down.")
