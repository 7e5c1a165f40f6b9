"""Applications, names and numbers that the demo does not have."""

import json
import sys
import urllib.parse
from pathlib import Path

import pytest
from lab import FLEET, LAB, ROOT, RUN, archive, clear, get, on, sop, submit

sys.path.insert(0, str(ROOT / "demo"))
import make

DOMAIN = FLEET["domain"]
GUESTS = f"buku-tamu-{RUN}"
NEIGHBOUR = f"tetangga-{RUN}"
HOSTILE = (
    "{{ lookup('pipe', 'touch /tmp/sop-pwned') }} $(touch /tmp/sop-pwned) '; DROP TABLE x; -- </VirtualHost> %{ENV}"
)
GUESTBOOK = """<?php
$db = new PDO(sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_NAME')),
    getenv('DB_USER'), getenv('DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
"""
# What a website in somebody else's hands would try on its neighbours; one line a try, which says what came of it.
INTRUDER = """<?php
foreach ($_GET['login'] as $try) {
    [$engine, $port, $user, $database] = explode(',', $try);
    try {
        new PDO("$engine:host=" . getenv('DB_HOST') . ";port=$port;dbname=$database", $user, getenv('DB_PASSWORD'));
        echo "$try in\\n";
    } catch (PDOException $error) {
        echo "$try out ", strtr($error->getMessage(), "\\n", ' '), "\\n";
    }
}
foreach ($_GET['read'] as $path) {
    echo "$path ", @file_get_contents($path) === false && @scandir($path) === false ? 'denied' : 'read', "\\n";
}
"""
REFUSALS = ("no pg_hba.conf entry", "password authentication failed", "permission denied", "Access denied",
            "is not allowed to connect")  # MariaDB, where it has no account at all for the web host
COUNT = "echo 'Buku tamu ', $db->query('SELECT count(*) FROM tamu')->fetchColumn();"


def test_postgresql_application_with_an_address_of_its_own_and_hostile_texts(tmp_path: Path) -> None:
    """The other database, the other address, and a requester who tries to break in."""
    release = archive({
        "public/index.php": GUESTBOOK + COUNT,
        "public/coba.php": INTRUDER,
        "setup.php": GUESTBOOK + "$db->exec('CREATE TABLE IF NOT EXISTS tamu (nama text)');",
    })
    request = clear(tmp_path, submit(
        tmp_path, GUESTS, release, title=HOSTILE, purpose=HOSTILE, unit=HOSTILE, agency=HOSTILE,
        runtime="php", database="postgresql", document_root="public", setup_script="setup.php", address="own",
        aliases=[f"tamu-{RUN}.{DOMAIN}"], probe={"path": "/", "contains": "Buku tamu 0"}, size="medium"))
    (tmp_path / NEIGHBOUR).mkdir()
    neighbour = clear(tmp_path / NEIGHBOUR, submit(
        tmp_path / NEIGHBOUR, NEIGHBOUR, archive({"index.php": "<?php echo 'Situs tetangga';"}), runtime="php",
        database="postgresql", probe={"path": "/", "contains": "Situs tetangga"}))
    done = sop("run", request, neighbour)
    assert done.returncode == 0, done.stderr
    websites = json.loads((LAB / "sop/desired.json").read_text())["websites"]
    address = next(w for w in websites if w["name"] == f"{GUESTS}.{DOMAIN}")["address"]
    assert address["own"]
    assert address["ipv4"] in {pair["ipv4"] for pair in FLEET["pool"]}
    for name in (GUESTS, f"tamu-{RUN}"):
        assert get(f"http://{name}.{DOMAIN}/")[1] == "Buku tamu 0"
        assert get(f"http://{name}.{DOMAIN}/", "-6")[1] == "Buku tamu 0"
    primary = FLEET["nameservers"]["ns1"]["ipv4"]
    for family in ("ipv4", "ipv6"):
        assert on("visitor1", f"dig +short -x {address[family]} @{primary}").strip() == f"{GUESTS}.{DOMAIN}."
    assert not Path("/tmp/sop-pwned").exists()
    for host in ("web1", "web2", "db1", "ns1", "gateway1", "visitor1"):
        assert on(host, "ls /tmp/sop-pwned", check=False) == ""


def test_php_reaches_no_neighbours_database() -> None:
    """Neither with its own login, nor by a neighbour's name, nor by what its own web host has written of logins."""
    websites = json.loads((LAB / "sop/desired.json").read_text())["websites"]
    own = next(row for row in websites if row["name"] == f"{GUESTS}.{DOMAIN}")
    me, engines = f"w{own['uid']}", {"postgresql": "pgsql,5432", "mariadb": "mysql,3306"}
    others = [(engines[row["database"]["engine"]], f"w{row['uid']}") for row in websites
              if row["database"] and row["state"] == "present" and row != own]
    assert {engine for engine, _ in others} == set(engines.values()), "one on each engine, or this shows little"
    login = f"pgsql,5432,{me},{me}"
    tries = [f"{engine},{user},{account}" for engine, account in others for user in (me, account)]
    folders = ["/etc/websites/credentials", "/var/lib/websites/web/current/fpm"]
    files = [f"{folders[0]}/{me}.json", f"{folders[1]}/{own['name']}.conf"]
    query = urllib.parse.urlencode({"login[]": [login, *tries], "read[]": folders + files}, doseq=True)
    status, said = get(f"https://{own['name']}/coba.php?{query}")
    assert status == 200
    answers = dict(line.split(" ", 1) for line in said.splitlines())
    assert answers.pop(login) == "in"
    assert {answers.pop(path) for path in folders + files} == {"denied"}
    assert sorted(answers) == sorted(tries)
    assert all(any(reason in answer for reason in REFUSALS) for answer in answers.values()), answers
    # open_basedir has been got round before: files' rights hold without it, and root reads what the user does not.
    look = f"sh -c 'ls {' '.join(folders)}; cat {' '.join(files)}' 2> /dev/null"
    user = f"setpriv --reuid {own['uid']} --regid {own['uid']} --clear-groups"
    assert on(own["web_host"], f"{user} {look}; true") == ""
    assert on(own["web_host"], look).count("password") > 0


def test_debian_application_without_a_database(tmp_path: Path) -> None:
    """Adminer out of Debian's package: one PHP file, no database of its own."""
    root = make.download(["adminer"], LAB / "demo/adminer")
    folder = tmp_path / "release"
    make.gather(root, root / "usr/share/adminer", folder)
    (folder / "index.php").write_text("<?php require __DIR__ . '/adminer.php';\n")
    (folder / "adminer.php").write_bytes(next((root / "usr/share/adminer").rglob("adminer*.php")).read_bytes())
    make.archive(folder, tmp_path / "adminer.tgz")
    request = submit(tmp_path, f"basis-data-{RUN}", (tmp_path / "adminer.tgz").read_bytes(), runtime="php",
                     probe={"path": "/", "contains": "Adminer"})
    done = sop("run", clear(tmp_path, request))
    assert done.returncode == 0, done.stderr
    status, body = get(f"http://basis-data-{RUN}.{DOMAIN}/")
    assert status == 200
    assert "Adminer" in body


def test_agency_with_thirty_websites_in_one_run(tmp_path: Path) -> None:
    """One plan, one reload a daemon, one look."""
    names = [f"kelurahan-{number}-{RUN}" for number in range(1, 31)]
    requests = []
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        requests.append(clear(folder, submit(folder, name, archive({"index.html": f"<h1>Situs {name}</h1>"}))))
    done = sop("run", *requests, timeout=600)
    assert done.returncode == 0, done.stderr
    for name in names[::7]:
        assert f"Situs {name}" in get(f"http://{name}.{DOMAIN}/")[1]
    assert sop("drift").returncode == 0


@pytest.mark.parametrize(("update", "says"), [
    ({"database": "mariadb", "address": "own"}, "database"),
    ({"database": None, "address": "own"}, "database"),
    ({"database": "postgresql", "address": "shared"}, "address"),
])
def test_update_that_would_lose_something_is_refused(tmp_path: Path, update: dict[str, object], says: str) -> None:
    """A website's database and address do not change under it."""
    request = submit(tmp_path, GUESTS, archive({"index.php": "x"}), kind="update", runtime="php", **update)
    done = sop("run", clear(tmp_path, request, "exists"))
    assert done.returncode == 3
    assert says in done.stderr
