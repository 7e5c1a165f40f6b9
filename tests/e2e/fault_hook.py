"""On a server of the lab: when a program enters or leaves a named function, run a command, once.

`test_fault_injection.py`, and `stages/kill.py` of the scenario `backup`, install it where every Python of the server
loads it at its start, so that the modules that we ship need no hooks for tests. FAULT holds JSON: file, function, event
(call or return), command, and where they count, nth (of that event in one program) and argument (one that the program
was started with).
"""

import json
import os
import pathlib
import subprocess
import sys

FAULT = pathlib.Path("/run/websites-fault.json")

if FAULT.exists():
    wanted = {"nth": 1, "argument": None} | json.loads(FAULT.read_text())

    def look(frame, event, argument):
        code = frame.f_code
        if (event, code.co_name) == (wanted["event"], wanted["function"]) and code.co_filename.endswith(wanted["file"]):
            if wanted["argument"] not in (None, *sys.argv):
                return
            wanted["nth"] -= 1
            if not wanted["nth"]:
                sys.setprofile(None)
                FAULT.unlink()
                environment = {**os.environ, "VICTIM": str(os.getpid())}
                subprocess.run(["/bin/sh", "-c", wanted["command"]], env=environment)

    sys.setprofile(look)
