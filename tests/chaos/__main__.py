"""`python -m tests.chaos`: see `command_line`."""

import sys

from tests.chaos.command_line import main

sys.exit(main())
