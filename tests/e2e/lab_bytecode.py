"""In the lab's servers alone: keep what Python makes of the code that Ansible sends.

It comes in a zip each time, and compiling it takes longer than most modules run. Python loads this as it starts; where
the folder is missing, everything is compiled as on any other server.
"""

import contextlib
import hashlib
import os
import types
import zipimport
from importlib.machinery import SourceFileLoader

FOLDER = "/var/cache/lab-bytecode"
compiled = zipimport._compile_source  # no public name leads there


def kept(pathname: str, source: bytes) -> types.CodeType:
    """The code of a module in a zip, by a copy beside which Python keeps bytecode."""
    name = pathname.rpartition("/")[2]
    path = f"{FOLDER}/{hashlib.sha256(source).hexdigest()}/{name}"
    with contextlib.suppress(OSError):
        return SourceFileLoader(name, path).get_code(name)
    with contextlib.suppress(OSError):
        keep(path, source)
    return compiled(pathname, source)


def keep(path: str, source: bytes) -> None:
    """The copy, as a whole."""
    from pathlib import Path  # what is kept already is found without it

    whole = Path(path)
    whole.parent.mkdir(exist_ok=True)
    part = whole.with_suffix(f".{os.getpid()}")
    part.write_bytes(source)
    part.replace(whole)


if os.access(FOLDER, os.W_OK):
    zipimport._compile_source = kept
