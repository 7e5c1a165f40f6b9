"""`python -m sop_driver` is the command `sop`."""

import sys

from sop_driver.cli import main

sys.exit(main())
