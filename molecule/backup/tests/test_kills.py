"""What the runs after killed ones left, as stages/kill.py noted it."""

import json

import pytest

OLD = {"uploads": ["link", "photo.jpg", "pipe", "sesudah.txt"], "rows": "1,2,99"}
NEW = {"uploads": ["link", "photo.jpg", "pipe"], "rows": "1,2"}
KEPT = ".before-restore-"
AFTER = {  # by the moment and the kind of the next run: the website, and what lies beside it
    ("clear_mariadb return", "backup"): (OLD, []),
    ("load call", "restore"): (NEW, [KEPT]),
    ("move return", "backup"): (NEW, [KEPT]),
    ("move return", "nightly"): (NEW, [KEPT]),
    ("bring return", "backup"): (NEW, [KEPT]),
}


@pytest.fixture
def kills(host):
    return json.loads(host.file("/root/kills.json").content_string)


def test_kills_left_the_website_half_done(kills):
    """A kill that harms nothing proves nothing: the database was empty at one, and the uploads away at another."""
    between = {fault["at"]: fault["between"] for fault in kills["restores"]}
    assert all(fault["killed"] == -9 for fault in kills["restores"])
    assert between["clear_mariadb return"]["rows"] == "" and between["move return"]["uploads"] is None


@pytest.mark.parametrize("moment", AFTER, ids=" ".join)
def test_next_run_leaves_one_state_whole_and_nothing_else(kills, moment):
    """Files and database are of one time, and no folder, dump, login or journal of the killed restore is left."""
    fault = next(fault for fault in kills["restores"] if (fault["at"], fault["next"]) == moment)
    left = [name.removesuffix(fault["name"].removesuffix(".go.id")) for name in fault["left"]]
    assert fault["ended"] == 0 and (fault["after"], left) == AFTER[moment]


def test_killed_snapshot_leaves_a_lock_that_blocks_nothing(kills):
    """restic ended with the run, its lock stayed; the next snapshot is made and what needs all to itself runs, too."""
    snapshot = kills["snapshot"]
    assert (snapshot["locks"], snapshot["dump"]) == (1, True)
    assert (snapshot["rc"], snapshot["made"], snapshot["locks_after"], snapshot["left"]) == (0, 1, 0, [])
