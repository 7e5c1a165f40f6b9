"""The modules as Ansible sees them: shared code under ansible.module_utils, each module by its own name."""

import importlib
import os
import sys
from pathlib import Path

import ansible.module_utils

os.umask(0o022)  # as the web layer's module sets it
PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))
sys.path.insert(0, str(PLUGINS / "modules"))

# The backup's code on a web host is a package of its own, with the shared transaction installed beside it.
sys.path.insert(0, str(PLUGINS.parent / "roles/backup/files"))
sys.modules["website_backup.transaction"] = importlib.import_module("ansible.module_utils.transaction")
# So is what takes certificates into use, and the nightly check, which has the releases' comparison beside it.
sys.modules["manifest"] = importlib.import_module("ansible.module_utils.manifest")
sys.path.insert(0, str(PLUGINS.parent / "roles/apache/files"))
# A PostgreSQL server of the tests' own is the driver's, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
