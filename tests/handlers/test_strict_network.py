# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict` in a network namespace of one's own: who may change it, and who may only look."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.compiling import abis, program
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

pytestmark = pytest.mark.oracle

OPS = Path(__file__).with_name("network_ops.py")
PYTHON = "/usr/bin/python3"
USER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
USERS = {
    "user": USER,
    "raw": (*USER, "--inh-caps=+net_raw", "--ambient-caps=+net_raw"),
    "admin": (*USER, "--inh-caps=+net_admin", "--ambient-caps=+net_admin"),
    "weak": ("setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"),
}


def printed(*command: str) -> list[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        env=environment(), cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("who", "engine"), [*(("user", engine) for engine in ENGINES), *((who, "notify") for who in USERS if who != "user")]
)
def test_as_real_users(who: str, engine: str) -> None:
    command = ["unshare", "--net", *USERS[who], PYTHON, "-c", OPS.read_text("utf-8")]
    real = printed(*command)
    assert sum(line.endswith("EPERM") for line in real) > (10 if who == "admin" else 60)
    assert sum(line.endswith("ok") for line in real) > 60
    assert printed(*PLACE, *REMAINROOT[:-1], engine, "--strict", "--", *command) == real


NARROW = r"""
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static void say(const char *what, int result) { printf("%s %d %d\n", what, result, result < 0 ? errno : 0); }

int main(void)
{
	struct { struct nlmsghdr head; struct ifinfomsg link; } text = {
		{ sizeof text, RTM_SETLINK, 5, 1, 0 }, { .ifi_index = 1 }
	};
	struct { struct nlmsghdr head; struct nlmsgerr error; char rest[99]; } answer;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct iovec part = { &text, sizeof text };
	struct msghdr message = { &kernel, sizeof kernel, &part, 1, NULL, 0, 0 };
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = 1280 };
	int inet = socket(AF_INET, SOCK_DGRAM, 0), netlink = socket(AF_NETLINK, SOCK_RAW, 0), one = 1;

	say("mark", setsockopt(inet, SOL_SOCKET, SO_MARK, &one, sizeof one));
	say("priority", setsockopt(inet, SOL_SOCKET, SO_PRIORITY, &one, sizeof one));
	say("bad", setsockopt(inet, SOL_SOCKET, SO_MARK, (void *)1, sizeof one));
	say("mtu", ioctl(inet, SIOCSIFMTU, &request));
	say("bad mtu", ioctl(inet, SIOCSIFMTU, (void *)1));
	say("send", sendmsg(netlink, &message, 0) == sizeof text);
	recv(netlink, &answer, sizeof answer, 0);
	say("answer", answer.error.error);
	say("sendto", sendto(netlink, &text, sizeof text, 0, (void *)&kernel, sizeof kernel) == sizeof text);
	recv(netlink, &answer, sizeof answer, 0);
	say("answer", answer.error.error);
	return 0;
}
"""


@pytest.mark.parametrize("abi", abis())
def test_of_each_width(tmp_path: Path, abi: str) -> None:
    source = tmp_path / "narrow.c"
    source.write_text(NARROW, "ascii")
    command = ["unshare", "--net", *USER, "sh", "-c", f"cd /; exec {program(source, abi)}"]
    tmp_path.chmod(0o755)
    real = printed(*command)
    assert real[0] == "mark -1 1"
    assert sum(line.startswith("answer -1 ") for line in real) == 2
    assert printed(*PLACE, *REMAINROOT, "--strict", "--", *command) == real
