"""`python -m p2pkad` is `p2pkad`."""

import sys

from p2pkad.cli.main import main

sys.exit(main())
