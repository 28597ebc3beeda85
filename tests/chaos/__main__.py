"""`python -m tests.chaos`: see `command_line`."""

import signal
import sys

from tests.chaos.command_line import main

# In order, so that servers and workers end too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sys.exit(main())
