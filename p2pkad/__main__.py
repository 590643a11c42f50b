"""`python -m p2pkad` is `p2pkad`."""

from p2pkad.cli.entry import main

main()
