"""What must be there after a reboot, before anybody runs the role again."""

import authority
from testinfra.host import Host


def test_directory_answers_under_the_certificate_that_web_hosts_have(host: Host) -> None:
    """They keep asking it by that certificate; only the root is a new one."""
    assert "newOrder" in authority.directory(host)
