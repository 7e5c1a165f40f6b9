"""Put a live release back as it was unpacked while visitors open it, and keep what was there."""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import tempfile
import time
from typing import Any

from ansible.module_utils import manifest, web, web_server
from ansible.module_utils.transaction import write_atomic

HERE = -100  # AT_FDCWD: paths are what they say
EXCHANGE = 2  # RENAME_EXCHANGE, of which Python knows nothing


def renew(website: dict[str, Any], archive: pathlib.Path) -> None:
    """Unpack the archive beside the live release and exchange the two at once; a visitor finds the one or the other.

    What was live is kept below HOMES for root alone: somebody will want to know who changed it, and how.
    """
    release = pathlib.Path(web.paths(website)["release"])
    with web_server.unpacked(website, archive) as partial:
        write_atomic(partial / manifest.MANIFEST, json.dumps(manifest.held_by(partial), sort_keys=True), 0o600)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        # Under its last name already: a run that is killed after the exchange must not tidy it away.
        kept = pathlib.Path(tempfile.mkdtemp(prefix=f".changed-{website['name']}-{stamp}-", dir=web.HOMES), "release")
        try:
            partial.rename(kept)
            os.sync()
            exchange(kept, release)
        except BaseException:
            if kept.exists():
                kept.rename(partial)
            kept.parent.rmdir()
            raise


def exchange(one: pathlib.Path, other: pathlib.Path) -> None:
    """Let two folders of a file system change their names in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
