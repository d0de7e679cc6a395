"""Lets `python -m superpod` do the same as the installed command."""

from superpod.cli import PROGRAM, main

main(prog_name=PROGRAM)
