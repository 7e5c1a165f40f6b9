"""What a change of the authority's settings does."""

import authority
from testinfra.host import Host


def test_change_is_taken_up_at_once(host: Host) -> None:
    """The configuration is read at the start only, and each start makes a new root, which must be kept."""
    assert '"certificateValidityPeriod": 40' in host.file(f"{authority.FOLDER}/pebble.json").content_string
    started = host.check_output("date +%s -d \"$(systemctl show --value -p ActiveEnterTimestamp pebble)\"")
    assert int(started) >= int(host.file(f"{authority.FOLDER}/pebble.json").mtime.timestamp())
    assert host.file(f"{authority.FOLDER}/root.pem").content_string.strip() == authority.root(host).strip()
