"""`python -m physedge`: the same as the command `physedge`."""

from physedge.cli import main

main()
