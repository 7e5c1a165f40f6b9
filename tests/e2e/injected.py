"""What `test_fault_injection.py` brings about: on which server, at which point of a module, how a run must end."""

import base64
from typing import Any, NamedTuple

from lab import FLEET, RUN

WEB, OTHER, NAME, DATABASE, GATEWAY = "web1", "web2", "ns1", "db1", "gateway1"  # WEB or OTHER: where the website goes
KILL = "kill -9 $VICTIM"
WHEN = {("call", 1): "at", ("call", 2): "at the second", ("return", 1): "after"}
NOTHING, BACK, NEXT = "nothing was begun", "put back", "put back by the next run"
UP = "the website, without a snapshot until `backup.yml`"
ENDS = {  # what was left, by what the register tells of the run
    NOTHING: [],
    BACK: ["started", "rolled_back"],
    NEXT: ["started", "unknown", "interrupted"],
    UP: ["started", "applied"],
}
# The tasks that a run's end names, with their server, where they failed.
LEASE, CREDENTIALS = "Lease the websites' addresses", "Make the credentials of this web host's databases"
DATABASES, WEBSITES = "Converge the websites' databases", "Converge the websites"
RECORDS, CERTIFICATES = "Converge the records of the websites", "See to the websites' certificates"
SNAPSHOTS = "Snapshot the websites of this server"

STATIC = f"dinkes.{FLEET['domain']}"
# Made before the faults; with MariaDB, which is updated later, and with PostgreSQL, which is suspended later.
UPDATED, SUSPENDED = f"tetap-{RUN}.{FLEET['domain']}", f"jeda-{RUN}.{FLEET['domain']}"
APPLICATION = f"aplikasi-{RUN}.{FLEET['domain']}"  # made after the first faults, and served during all others
ALONE = (STATIC, APPLICATION)  # those that need no database


class Fault(NamedTuple):
    """What goes wrong: a command on a server, at a point of a module there (file.function) or before the run.

    `of` is the request that is run; `then` a second point, where the module that puts back is killed too. `undo` mends
    it after the run; `served` are the others that do not need what fails. `left` is what the run must leave, and `says`
    what must be told of it: a task of that server, or a word of the cause.
    """

    title: str
    host: str
    command: str
    point: str | None = None
    event: str = "call"
    nth: int = 1
    argument: str | None = None  # where other programs of the server come to that point too
    undo: str | None = None
    served: tuple[str, ...] = (STATIC, UPDATED, SUSPENDED, APPLICATION)
    of: str = "create"
    then: str | None = None
    left: str = BACK
    says: str = ""


def killed(layer: str, host: str, task: str, *points: str, **more: Any) -> list[Fault]:
    """kill -9 at the start of each of these functions, or as `event` and `nth` say."""
    when = WHEN[more.get("event", "call"), more.get("nth", 1)]
    return [Fault(f"{layer}: kill -9 {when} `{point.partition('.')[2]}`", host, KILL, point, says=task, **more)
            for point in points]


def killed_twice(layer: str, host: str, task: str, point: str, then: str, of: str = "create") -> Fault:
    """kill -9 at the start of a function, and of another one while that is put back; which is tried twice."""
    title = f"{layer}: kill -9 at `{point.partition('.')[2]}`, and at `{then.partition('.')[2]}` of putting back"
    return Fault(title, host, KILL, point, of=of, then=then, says=task)


def small(folder: str) -> str:
    """Give a folder a file system of its own, with little room beside what it holds."""
    return (f"mkdir /run/full && mount -t tmpfs -o size=$(($(du -sk {folder} | cut -f1) + 65536))k none /run/full && "
            f"cp -a {folder}/. /run/full && chown --reference={folder} /run/full && "
            f"chmod --reference={folder} /run/full && mount --bind /run/full {folder}")


def fill(folder: str) -> str:
    return f"! cat /dev/zero > {folder}/.full 2> /dev/null"


def widen(folder: str) -> str:
    return f"umount -l {folder} && umount -l /run/full && rmdir /run/full"


DATA = "/var/lib/mysql"
LOCK = """mariadb -e "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '\\$.account_locked', {}) WHERE User = 'root';
FLUSH PRIVILEGES" """
UNPLUGGED = ("nft 'table inet fault { chain input { type filter hook input priority -300; tcp dport 22 drop; }; "
             "chain output { type filter hook output priority -300; tcp sport 22 drop; }; }'")
PLUGGED = "nft delete table inet fault"
KEY, WRONG = "/etc/bind/keys/websites-update.key", base64.b64encode(bytes(32)).decode()
VHOST = "/etc/apache2/sites-enabled/x.conf"
POOL = "/etc/php/$(ls /etc/php)/fpm/pool.d/rusak.conf"

APPLICATIONS = [
    *killed("an application", WEB, WEBSITES, "web_apps.start", event="return", of="application"),
    *killed("an application", WEB, WEBSITES, "web_apps.keep", nth=2, of="application"),
]
# That makes the application, since a run is done when its website was seen.
SNAPSHOT = Fault("the snapshot after a run: kill -9 at `backup`", WEB, KILL, "repository.backup", of="application",
                 left=UP, says=SNAPSHOTS)
KILLS = [
    *killed("addresses", GATEWAY, LEASE, "public_ip_leases.batch", "nft.load"),
    *killed("addresses", GATEWAY, LEASE, "nft.load", event="return"),
    *killed("addresses", GATEWAY, LEASE, "public_ip_leases.write_state", nth=2),
    *killed("addresses", GATEWAY, LEASE, "announce.announce"),
    # Its result holds secrets, but what becomes of it is told: here, that it gave none.
    *killed("credentials", WEB, f"{CREDENTIALS}: Module result deserialization failed", "website_credentials.write"),
    *killed("database", DATABASE, DATABASES, "database_websites.carry_out"),
    *killed("database", DATABASE, DATABASES, "database_mariadb.execute", event="return"),
    *killed("database", DATABASE, DATABASES, "database_websites.verify"),
    *killed("web", WEB, WEBSITES, "web_server.make_users", "web_server.make_homes", "web_server.make_release",
            "web_setup.setup", "web_server.validate", "web_server.swap", "web_server.reload", "web_layer.faults"),
    *killed("web", WEB, WEBSITES, "web_layer.faults", event="return"),
    *killed("web", WEB, WEBSITES, "web_layer.prune"),
    *killed("records", NAME, RECORDS, "nameserver_wire.update", "nameserver_apply.await_secondaries"),
    # The server looks at certificates by itself as well.
    *killed("certificates", WEB, CERTIFICATES, "websites_https.release", event="return", argument="--release"),
    *killed("certificates", WEB, CERTIFICATES, "websites_https.take_up", argument="--release"),
    *killed("PostgreSQL", DATABASE, DATABASES, "database_postgresql.execute", event="return", of="zone"),
    *killed("PostgreSQL", DATABASE, DATABASES, "database_postgresql.closed", "database_websites.verify", of="zone"),
    *killed("an agency's own zone", NAME, RECORDS, "nameserver_zones.create", "nameserver_zones.configure",
            "nameserver_zones.wait", of="zone"),
    *killed("an update", WEB, SNAPSHOTS, "repository.backup", of="update"),
    *killed("an update", WEB, WEBSITES, "web_setup.setup", "web_server.reload", of="update"),
    *killed("a suspension", WEB, WEBSITES, "web_layer.faults", of="suspend"),
]
TROUBLES = [
    killed_twice("addresses", GATEWAY, LEASE, "announce.announce", "public_ip_leases.batch"),
    killed_twice("database", DATABASE, DATABASES, "database_websites.verify", "database_mariadb.release"),
    killed_twice("web", WEB, WEBSITES, "web_layer.faults", "web_server.remove_website"),
    killed_twice("an agency's own zone", NAME, RECORDS, "nameserver_apply.await_secondaries", "nameserver_zones.remove",
                 "zone"),
    killed_twice("an update", WEB, WEBSITES, "web_layer.faults", "web_server.reload", "update"),
    Fault("a policy that Apache cannot read", WEB, "cp -p {policy} /root/policy && echo Bogus >> {policy}".format(
        policy="/etc/apache2/conf-available/websites-policy.conf"), left=NOTHING, says="Bogus",
        undo="mv /root/policy /etc/apache2/conf-available/websites-policy.conf"),
    Fault("web: somebody's vhost that Apache cannot read appears", WEB, f"echo Bogus > {VHOST}",
          "web_server.validate", undo=f"rm {VHOST}", left=NEXT, says="Bogus"),
    Fault("web: somebody's pool that PHP-FPM cannot start appears", WEB,
          f"printf '[x]\\nuser = nobody-here\\nlisten = /run/x\\npm = ondemand\\npm.max_children = 1\\n' > {POOL}",
          "web_server.validate", undo=f"rm {POOL}", says="nobody-here"),
    Fault("web: no room for the release", WEB, f"{small('/srv/websites')} && {fill('/srv/websites')}",
          undo=widen("/srv/websites"), says="No space left"),
    Fault("web: SSH is cut at `swap`", WEB, "pkill -KILL -f '^sshd(-session)?: root@'", "web_server.swap",
          says=WEBSITES),
    Fault("database: MariaDB is down", DATABASE, "systemctl stop mariadb", undo="systemctl start mariadb",
          served=(*ALONE, SUSPENDED), left=NOTHING, says="MariaDB does not answer"),
    Fault("database: PostgreSQL is down", DATABASE, "systemctl stop postgresql", undo="systemctl start postgresql",
          served=(*ALONE, UPDATED), of="zone", left=NOTHING, says="PostgreSQL does not answer"),
    Fault("database: MariaDB stops at `carry_out`", DATABASE, "systemctl stop mariadb", "database_websites.carry_out",
          undo="systemctl start mariadb", served=(*ALONE, SUSPENDED), left=NEXT, says="MariaDB does not answer"),
    Fault("database: MariaDB refuses the login", DATABASE, LOCK.format("true"), left=NOTHING, says="does not answer",
          undo=f"runuser -u mysql -- {LOCK.format('false')}"),
    Fault("database: no room", DATABASE,
          f"systemctl stop mariadb && {small(DATA)} && systemctl start mariadb && {fill(DATA)}",
          undo=f"systemctl stop mariadb; {widen(DATA)} && systemctl start mariadb", served=(*ALONE, SUSPENDED),
          left=NOTHING, says=f"MiB left in {DATA}"),
    Fault("records: BIND's primary is down", NAME, "systemctl stop named", undo="systemctl start named", left=NOTHING,
          says=RECORDS),
    Fault("records: BIND's primary stops at `update`", NAME, "systemctl stop named", "nameserver_wire.update",
          undo="systemctl start named", left=NEXT, says=RECORDS),
    Fault("records: the key is a wrong one", NAME, f"cp -p {KEY} /root/key && "
          f"sed -i 's/secret \".*\"/secret \"{WRONG}\"/' {KEY}", undo=f"mv /root/key {KEY}", left=NOTHING,
          says="the key"),
    Fault("records: the update is refused", NAME, f"rndc freeze {FLEET['domain']}", "nameserver_wire.update",
          undo=f"rndc thaw {FLEET['domain']}", says=RECORDS),
    Fault("addresses: the gateway is out of reach", GATEWAY, UNPLUGGED, undo=PLUGGED, left=NOTHING, says="ssh"),
    Fault("addresses: the gateway is out of reach from `announce` on", GATEWAY, UNPLUGGED, "announce.announce",
          undo=PLUGGED, left=NEXT, says="ssh"),
]
FIREWALL = killed("firewall", WEB, "", "firewall_table.apply", "nft.load", "firewall_table.confirm",
                  "firewall_table.save", left=NEXT)
FAULTS = [*APPLICATIONS, SNAPSHOT, *KILLS, *TROUBLES, *FIREWALL]  # as the document tells them
