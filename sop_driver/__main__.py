"""`python -m sop_driver` is the command `sop`: loads what it needs, and runs it."""

from __future__ import annotations

import gc
import os
import sys
from locale import CODESET, nl_langinfo

INTERRUPTED = "interrupted: of this command nothing is recorded\nwhere: sop\nmend: run it again\n"  # while it loads
UNICODE = "C.UTF-8"  # the locale that each system brings


def main() -> int:
    """Run the command of this process's arguments; returns the exit code."""
    if nl_langinfo(CODESET) != "UTF-8" and os.environ.get("LC_ALL") != UNICODE:
        # Names have letters that others lack, and Ansible starts under no other. Nothing was read or written yet.
        os.environ["LC_ALL"] = UNICODE
        os.execv(sys.executable, sys.orig_argv)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some reads every package's metadata
    gc.disable()  # nothing of what is loaded is garbage; to look for some takes a tenth of the time
    try:
        from sop_driver import cli  # only here: its modules are what is loaded
    except KeyboardInterrupt:
        sys.stderr.write(INTERRUPTED)
        return 130
    gc.freeze()
    gc.enable()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
