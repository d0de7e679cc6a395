"""The command line: `superpod lab …` and `superpod test`; setup.sh hands over to it."""

from __future__ import annotations

import click

from superpod import __version__, ui
from superpod.errors import SuperpodError
from superpod.lab.cli import lab
from superpod.reports.cli import job, report, top
from superpod.testing import test

# What users type.
PROGRAM = "./setup.sh"


class Reporting(click.Group):
    """Turns our errors into one sentence on stderr and an exit code."""

    def invoke(self, context: click.Context) -> object:
        """Run the chosen command."""
        try:
            return super().invoke(context)
        except SuperpodError as error:
            ui.err.print(f"[bold red]Error:[/] {ui.escape(str(error))}")
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            ui.err.print("Interrupted.")
            context.exit(130)


@click.group(cls=Reporting, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """dcgm-exporter on a BCM-managed SuperPOD, by Salt."""


main.add_command(lab)
main.add_command(test)
main.add_command(job)
main.add_command(report)
main.add_command(top)
