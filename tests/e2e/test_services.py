# SPDX-License-Identifier: GPL-2.0-or-later
"""What was installed must also run: daemons that drop to their users, and tools that switch identity.

One script installs, starts and asks; it runs as real root and under each engine, and must print the same.
"""

from __future__ import annotations

import functools

import pytest

from tests.e2e.containers import ENGINES, PLACES, TRUTH, Result, run_in

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


@functools.cache
def truth(name: str) -> Result:
    packages, script = SERVICES[name]
    result = run_in(TRUTH["minimal"], SCRIPT.format(packages=packages, script=script))
    assert result.status == 0, f"real root itself fails: {result.output}\n{result.tail()}"
    return result


# The slowest engine runs every service, too, where there is time.
CASES = [
    pytest.param(name, engine, marks=[pytest.mark.slow] if engine == "ptrace" and name != "identities" else [])
    for name in SERVICES
    for engine in ENGINES
]


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_runs_as_under_real_root(name: str, engine: str) -> None:
    packages, script = SERVICES[name]
    real = truth(name)
    result = run_in(
        PLACES["unshare-outside"], SCRIPT.format(packages=packages, script=script), engine=engine
    )
    assert result.output == real.output, f"status {result.status}\n{result.tail()}"
    assert result.status == 0, result.tail()
