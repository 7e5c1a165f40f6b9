"""What the roles make of the lab's fleet: all rules of each kind of server, rendered by our own code, and variables."""

import base64
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests/e2e/golden"
# What each kind of server is set up with (playbooks/servers.yml), and a server of the kind.
KINDS = {"gateway": ("gateway1", "public_ip"), "web": ("web1", "apache"), "database": ("db1", "database"),
         "nameserver": ("ns1", "nameserver"), "backup": ("backup1", "backup")}
# What a web host of the fleet really asks differs from lab to lab.
RESOLV = b"nameserver 10.89.77.1\nnameserver fd00:89:77::1\n"

ansible.module_utils.__path__.append(str(ROOT / "plugins/module_utils"))
sys.path.append(str(ROOT / "plugins/modules"))


def document(kind: str, fleet: dict[str, Any] | None = None) -> str:
    """nft's input for a kind of server, rendered by the modules' own code; `fleet` stands for the lab's."""
    from ansible.module_utils import firewall, nft, public_ip  # found by the line above

    host, role = KINDS[kind]
    templar = templar_of(host, role, fleet)
    fragments = {}
    for task in _declarations(ROOT / "roles" / role):
        given = {key.removeprefix("firewall_"): templar.template(value) for key, value in task["vars"].items()}
        fragments[given["service"]] = firewall.fragment(given, str(host))
    management = nft.networks(templar.template(templar.available_variables["firewall_management"]), "management")
    rules = firewall.render({"management": management[4] + management[6], "ssh_port": 22}, fragments)
    if role == "public_ip":
        # Its translation, before any website has an address of its own.
        given = {name: templar.template(templar.available_variables[f"public_ip_{name}"])
                 for name in public_ip.Settings._fields}
        settings = public_ip.Settings(**given)
        rules += public_ip.render(public_ip.server_leases(settings), settings)
    return rules


def templar_of(host: str, role: str, fleet: dict[str, Any] | None = None) -> Templar:
    """Ansible's own templates over the role's, the lab's and the playbooks' variables."""
    loader = DataLoader()
    inventory = InventoryManager(loader, [str(ROOT / "inventories/lab/hosts.yml")])
    known = VariableManager(loader, inventory).get_vars(host=inventory.get_host(host))
    order = [ROOT / f"roles/{role}/defaults/main.yml", ROOT / "inventories/lab/group_vars/all/fleet.yml",
             ROOT / "playbooks/group_vars/all/roles.yml", ROOT / f"roles/{role}/vars/main.yml"]
    for path in order:
        known |= read(path) if path.exists() else {}
    known["fleet"] = fleet or known["fleet"]
    known["__apache_resolv"] = {"content": base64.b64encode(RESOLV).decode()}
    return Templar(loader, variables=known)


def read(path: Path) -> Any:
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


def _declarations(role: Path) -> list[dict]:
    tasks = [task for path in sorted(role.glob("tasks/*.yml")) for task in read(path)]
    return [task for task in tasks if task.get("ansible.builtin.include_role", {}).get("name") == "firewall"]
