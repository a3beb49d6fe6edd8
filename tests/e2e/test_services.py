# SPDX-License-Identifier: GPL-2.0-or-later
"""What was installed must also run: daemons that drop to their users, and tools that switch identity.

One script installs, starts and asks; it runs as real root and under each engine, and must print the same.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ahead import Ahead, wanted
from tests.e2e.containers import ENGINES, PLACES, TRUTH, Place, Result, run_in

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

IDENTITIES = r"""
sudo -n -u nobody id
su -s /bin/sh postgres -c 'id; touch /tmp/by-su; stat -c %U:%G /tmp/by-su'
runuser -u www-data -- sh -c 'mkdir /tmp/by-runuser; stat -c "%U:%G %a" /tmp/by-runuser'
setpriv --reuid=33 --regid=33 --groups=4,8 --inh-caps=-all sh -c 'id; kill -0 1; chown 0 /tmp/by-su' 2>&1 || true
perl -e '$) = "33 33"; $> = 33; open F, ">/tmp/by-perl"; print "$< $> $( $) ", join(":", (stat F)[4,5]), "\n"'
start-stop-daemon --start --chuid daemon --exec /usr/bin/id
chown 5:6 /tmp/by-su; install -o man -g tty -m 2755 -d /tmp/dir; touch /tmp/dir/inherits
stat -c '%u:%g %a %F' /tmp/by-su /tmp/dir /tmp/dir/inherits
mknod /tmp/null c 1 3; mknod /tmp/loop b 7 0; stat -c '%F %t:%T' /tmp/null /tmp/loop
tar -C /tmp --numeric-owner -cf - null loop dir by-su | tar -tvf - | awk '{print $1, $2, $3, $NF}'
"""

POSTGRESQL = r"""
pg_ctlcluster 15 main start
su postgres -c "psql -Atc 'select count(*) from pg_database; select current_user'"
su postgres -c "psql -Atc 'create table t as select generate_series(1, 100) n; select sum(n) from t'"
stat -c '%U:%G %a' /var/lib/postgresql/15/main/postmaster.pid /run/postgresql/.s.PGSQL.5432
server=$(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)
stat -c %U "/proc/$server"; id -nu "$(grep ^Uid: "/proc/$server/status" | cut -f 2)"
pg_ctlcluster 15 main stop
"""

SSHD = r"""
mkdir -p /run/sshd /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
/usr/sbin/sshd -p 2222 -o PidFile=/run/sshd.pid -o ListenAddress=127.0.0.1
ssh -q -p 2222 -o StrictHostKeyChecking=no -o BatchMode=yes root@127.0.0.1 'id; stat -c %U:%G /etc/shadow .'
kill "$(cat /run/sshd.pid)"
"""

SCRIPT = """
exec 3>&1 >&2
apt-get update
apt-get install -y --no-install-recommends {packages}
exec >&3
{script}
"""

SERVICES = {
    "identities": ("sudo perl-base", IDENTITIES.replace("postgres", "games")),
    "postgresql": ("postgresql procps", POSTGRESQL),
    "sshd": ("openssh-server openssh-client", SSHD),
}


# The slowest engine runs every service, too, where there is time.
CASES = [
    pytest.param(name, engine, marks=[pytest.mark.slow] if engine == "ptrace" and name != "identities" else [])
    for engine in ENGINES
    for name in SERVICES
]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """What the tests compare: each service as real root, then under the engines."""
    cases = [(case["name"], case["engine"]) for case in wanted(request)]
    with Ahead() as made:
        made.begin((name, partial(serve, TRUTH["minimal"], name)) for name, _ in cases)
        made.begin((case, partial(serve, PLACES["unshare-outside"], *case)) for case in cases)
        yield made


ALONE = {name: Lock() for name in SERVICES}
"""All runs have the host's network, where a service can have its port but once."""


def serve(place: Place, name: str, engine: str | None = None) -> Result:
    packages, script = SERVICES[name]
    with ALONE[name]:
        return run_in(place, SCRIPT.format(packages=packages, script=script), engine=engine)


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_runs_as_under_real_root(runs: Ahead, name: str, engine: str) -> None:
    real, result = runs.result(name), runs.result((name, engine))
    assert real.status == 0, f"real root itself fails: {real.output}\n{real.tail()}"
    assert result.output == real.output, f"status {result.status}\n{result.tail()}"
    assert result.status == 0, result.tail()
