"""`python -m orograph` is the command."""

import sys

from orograph.cli import main

sys.exit(main())
