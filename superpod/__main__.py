"""Lets `python -m superpod` do the same as the installed command."""

from superpod.cli import main

main()
