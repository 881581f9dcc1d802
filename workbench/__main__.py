"""Lets `python -m workbench` stand for the console script."""

from workbench.cli.main import main

main()
