# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Debian root in a box: dynamic programs, and an installation."""

from __future__ import annotations

import pytest

from tests.containers.roots import box
from tests.e2e.containers import root_tar

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("roots")]


SCRIPT = """
    stat -c '%n %u:%g %a' /etc/shadow /usr/bin/chage
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends hello cron >/dev/null
    hello
    stat -c '%n %U:%G %a' /usr/bin/crontab /var/spool/cron/crontabs
    su nobody -s /bin/sh -c 'id -un'
"""


def test_install_in_a_debian_box() -> None:
    options = ("--env", "DEBIAN_FRONTEND=noninteractive", "--tmpfs", "/tmp", "--tmpfs", "/run")
    assert box(*options, root_tar("minimal"), "sh", "-ec", SCRIPT).splitlines() == [
        "/etc/shadow 0:42 640", "/usr/bin/chage 0:42 2755", "Hello, world!", "/usr/bin/crontab root:crontab 2755",
        "/var/spool/cron/crontabs root:crontab 1730", "nobody",
    ]  # fmt: skip
