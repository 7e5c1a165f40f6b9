"""`python -m sop_driver` is the command `sop`: loads what it needs, and runs it."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Run the command of this process's arguments; returns the exit code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some reads every package's metadata
    gc.disable()  # nothing of what is loaded is garbage; to look for some takes a tenth of the time
    from sop_driver import cli  # only here: its modules are what is loaded

    gc.freeze()
    gc.enable()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
