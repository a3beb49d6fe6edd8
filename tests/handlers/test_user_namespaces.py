# SPDX-License-Identifier: GPL-2.0-or-later
"""User namespaces that tasks make: what they are told there is what real ones are told."""

from __future__ import annotations

import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.compiling import FIXTURES, program
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, in_turn
from tests.oracle import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.oracle

USER = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")


@pytest.fixture(scope="module")
def oracle() -> Iterator[runner.Oracle]:
    with runner.Oracle() as made:
        yield made


@pytest.mark.parametrize(
    ("engine", "seed", "variant"), in_turn((1, "native"), (6, "native"), (20, "m32"), (35, "static"))
)
def test_random_namespaces(oracle: runner.Oracle, engine: str, seed: int, variant: str) -> None:
    case = runner.Case("spacefuzz", seed, variant)
    want = oracle.run_oracle(case)
    assert want.status == 0
    assert len(want.lines) > 500
    report = runner.difference(case, engine, want, oracle.run_under(engine, case, ("--strict", "--store=memory")))
    assert report is None, report


def test_without_remainroot_they_are_otherwise(oracle: runner.Oracle) -> None:
    case = runner.Case("spacefuzz", 1)
    assert runner.difference(case, "nothing", oracle.run_oracle(case), oracle.run_bare(case)) is not None


SCRIPTS = {
    "root of one's own": """
        unshare --map-root-user sh -c '
            id; cd /proc/self; cat uid_map gid_map setgroups; grep -E "^(Uid|Gid|Cap)" status; cd - >/dev/null
            stat -c %u:%g / /etc/passwd; touch own; stat -c %u:%g own; chown 42 own; setpriv --reuid 5 true; echo $?'
        stat -c %u:%g own""",
    "one's own id": "unshare --map-current-user sh -c 'id; cat /proc/self/uid_map; grep Cap /proc/self/status'",
    "setgroups outside": "echo deny >/proc/self/setgroups; cat /proc/self/setgroups",
    "denied again": """
        unshare --user sleep 60 & while [ "$(cat /proc/$!/comm)" != sleep ]; do sleep 0.01; done
        for word in deny allow deny; do printf $word >/proc/$!/setgroups; echo $?; done; cat /proc/$!/setgroups
        kill $!""",
    "no map": "unshare --user sh -c 'id; touch own; stat -c %u:%g own; cat /proc/self/uid_map'; stat -c %u:%g own",
    "one in another": "unshare -r unshare -r unshare -r sh -c 'id; cat /proc/self/uid_map; touch own; stat -c %u own'",
    "a file system": """
        unshare -rm sh -c 'mount -t tmpfs none /mnt && touch /mnt/x && mkdir /mnt/d && stat -c %u:%g /mnt /mnt/x /mnt/d
            chown 0:0 /mnt/x && umount /mnt; echo $?
            mount -t tmpfs -o ro none /mnt && touch /mnt/x; stat -c %u:%g own; id -u'""",
    "joined": """
        unshare --user sleep 60 & while [ "$(cat /proc/$!/comm)" != sleep ]; do sleep 0.01; done
        nsenter --user --preserve-credentials --target $! sh -c 'id -u; cat /proc/self/uid_map'; echo $?
        kill $!""",
    "all at once": """
        unshare --user --mount --uts sleep 60 & while [ "$(cat /proc/$!/comm)" != sleep ]; do sleep 0.01; done
        /usr/bin/python3 -c '
import ctypes, os, sys
print(ctypes.CDLL(None).setns(os.pidfd_open(int(sys.argv[1])), 0x10000000 | 0x04000000), os.getuid())' $!
        kill $!""",
    "threads": """
        /usr/bin/python3 -c '
import subprocess, threading, os
stop = threading.Event()
def busy():
    while not stop.is_set():
        os.getuid(), os.stat("/")
threads = [threading.Thread(target=busy) for _ in range(3)]
[thread.start() for thread in threads]
told = {subprocess.run(["unshare", "-r", "id", "-u"], capture_output=True, text=True).stdout for _ in range(5)}
stop.set()
[thread.join() for thread in threads]
print(told, os.getuid())'""",
    "tasks numbered anew": """
        unshare --mount --user --pid --fork --map-current-user --mount-proc sh -c '
            sleep 60 & stat -c "%u:%g %n" /proc/self/ /proc/1 /proc/$!/environ /proc/$!/task/$!/status
            head -c 0 /proc/$!/environ; ls /proc/1/ns /proc/$!/task/$!/ns | grep -c mnt; kill $!'
        [ "$(id -u)" != 0 ] || unshare --mount --pid --fork --mount-proc sh -c '
            setpriv --reuid 5 --regid 6 --clear-groups sleep 60 &
            while [ "$(cat /proc/$!/comm)" != sleep ]; do /bin/sleep 0.01; done
            stat -c "%u:%g %n" /proc/$!/environ /proc/$!/task/$!/status
            setpriv --reuid 7 --regid 8 --clear-groups stat -c "%u:%g" /proc/self/ /proc/thread-self/environ /proc/1/
            kill $!'""",
    "bubblewrap": """
        bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev sh -c 'id; echo x >/dev/null; echo $?'
        bwrap --unshare-user --uid 77 --gid 78 --ro-bind / / sh -c 'id; cat /proc/self/uid_map; stat -c %u:%g /etc'
        bwrap --unshare-user --uid 0 --gid 0 --cap-add ALL --bind / / --bind /proc /proc \\
            bwrap --unshare-all --uid 5 --bind / / --bind /proc /proc id""",
}


def printed(prefix: list[str], script: str, place: Path) -> tuple[str, str]:
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    done = subprocess.run(
        [*prefix, "sh", "-c", script], cwd=place, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        env=environment(), stdin=subprocess.DEVNULL, extra_groups=[],
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("engine", "strict", "name"),
    [*product(ENGINES, [""], SCRIPTS), *in_turn(*product(["--strict"], SCRIPTS))],
)
@pytest.mark.parametrize("who", [(), USER], ids=["root", "user"])
def test_as_really(place: Path, name: str, who: tuple[str, ...], engine: str, strict: str) -> None:
    if name == "bubblewrap":
        assert shutil.which("bwrap"), "bubblewrap is missing: see tools/setup-apt.sh"
    store = f"--store=durable:{place}/owners.db" if strict else "--store=memory"
    fake = [*PLACE, *REMAINROOT[:-1], engine, store, *([strict] if strict else []), "--", *who]
    assert printed(fake, SCRIPTS[name], place / "fake") == printed([*who], SCRIPTS[name], place / "real")


SETTINGS = """
    for setting in user/max_mnt_namespaces net/ipv4/ip_forward; do
        (echo 1 >/proc/sys/$setting) 2>/dev/null; echo $?
        unshare -r --net sh -c '
            echo 1 >/proc/sys/$0; echo $?; cat /proc/sys/$0
            setpriv --bounding-set -sys_resource,-net_admin --inh-caps -sys_resource,-net_admin \\
                sh -c "echo 0 >/proc/sys/$0" 2>/dev/null; echo $?; cat /proc/sys/$0' $setting
    done
    bwrap --unshare-user --disable-userns --dev-bind / / unshare --user true 2>/dev/null; echo $?"""


@pytest.mark.parametrize("engine", ENGINES)
def test_settings_of_ones_own(place: Path, engine: str) -> None:
    """Only --strict keeps a user from the others."""
    fake = [*PLACE, *REMAINROOT[:-1], engine, "--store=memory", "--strict", "--", *USER]
    expected = printed([*USER], SETTINGS, place / "real")
    assert expected[0].split() == ["2", "0", "1", "2", "1"] * 2 + ["1"]
    assert printed(fake, SETTINGS, place / "fake") == expected


@pytest.mark.parametrize("strict", ["", "--strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_roots_of_new_file_systems(place: Path, engine: str, strict: str) -> None:
    """Made by fsopen(2), configured, and given by fsmount(2), before they are mounted anywhere."""
    kinds = ["tmpfs", "tmpfs", "ramfs", "tmpfs", "mqueue", "proc", "tmpfs"]
    script = f"unshare --map-root-user --mount --ipc {program(FIXTURES / 'new_mounts.c')} {' '.join(kinds)}"
    store = f"--store=durable:{place}/owners.db" if strict else "--store=memory"
    fake = [*PLACE, *REMAINROOT[:-1], engine, store, *([strict] if strict else []), "--", *USER]
    expected = printed([*USER], script, place / "real")
    assert expected[0].count("mounted 0:0") == 6
    assert printed(fake, script, place / "fake") == expected


@pytest.mark.parametrize(("engine", "store", "seed"), in_turn(*product(["memory", "durable"], ["1", "2", "7"])))
def test_access_lists_and_file_capabilities(place: Path, engine: str, store: str, seed: str) -> None:
    """As three processes name them, each in a namespace within the other's."""
    kept = store if store == "memory" else f"{store}:{place}/owners.db"
    command = ["/usr/bin/python3", str(Path(__file__).with_name("space_xattr_ops.py")), seed, "250"]
    told = [
        subprocess.run(
            [*prefix, *command, str(place / side)], capture_output=True, text=True, check=True, timeout=TIMEOUT,
            env=environment(),
        ).stdout.splitlines()
        for prefix, side in (([], "real"), ([*PLACE, *REMAINROOT[:-1], engine, f"--store={kept}", "--"], "fake"))
    ]  # fmt: skip
    assert told[1] == told[0]
    assert sum(" set " in line for line in told[0]) > 50
    assert any(line.startswith("1") and line.endswith("EOVERFLOW") for line in told[0])


MAPPED = """
    unshare --map-root-user --map-auto sh -c 'id; cat /proc/self/uid_map; touch own; chown 7:8 own; stat -c %u:%g own
        setpriv --reuid 33 --regid 33 --clear-groups id; setpriv --reuid 33 chown 7 own'
    stat -c %u:%g own"""


@pytest.mark.parametrize("engine", ENGINES)
def test_newuidmap_maps_many(place: Path, engine: str) -> None:
    """A set-user-ID program of root's writes the map for a user: subuid(5)."""
    assert shutil.which("newuidmap"), "uidmap is missing: see tools/setup-apt.sh"
    bind = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'
    give = ["unshare", "--mount", "sh", "-c", bind]
    lent = place / "lent"
    lent.write_text("1000:200000:65536\n", "ascii")
    fake = [*give, str(lent), *PLACE, *REMAINROOT[:-1], engine, "--store=memory", "--", *USER]
    real = printed([*give, str(lent), *USER], MAPPED, place / "real")
    assert "200006:200007" in real[0]
    assert printed(fake, MAPPED, place / "fake") == real


def test_an_id_map_written_twice_is_refused(place: Path) -> None:
    script = "unshare -r sh -c 'cd /proc/self; echo 0 0 1 >uid_map; echo deny >setgroups; cat uid_map'"
    real = printed([*USER], script, place / "real")
    assert real[1].count("error") == 2
    assert printed([*PLACE, *REMAINROOT[:-1], "notify", "--", *USER], script, place / "fake") == real


OWNERS = r"""
import fcntl, os, signal, struct, subprocess, sys
def owner(pid):
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    try:
        return struct.unpack("=I", fcntl.ioctl(fd, 0xB704, bytes(4)))[0]
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)
def child(*command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process
fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
try:
    fcntl.ioctl(fd, 0xB704, bytes(4))
except OSError as error:
    print(error.errno)
say = "echo; read line"
made = [child("setpriv", f"--reuid={uid}", "--clear-groups", "unshare", "--user", *options, "sh", "-c", say)
        for uid, options in ((1000, ()), (33, ("-r",)), (0, ("-r",)))]
print([owner(process.pid) for process in made], owner(os.getpid()) == owner("self"))
nested = child("unshare", "-r", "unshare", "-r", "sh", "-c", say)
print(owner(nested.pid))
for process in (*made, nested):
    process.communicate()
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_whose_a_namespace_is(place: Path, engine: str) -> None:
    script = f"exec /usr/bin/python3 -c '{OWNERS}'"
    real = printed([], script, place / "real")
    assert real == ("22\n[1000, 33, 0] True\n0\n", "")
    assert printed([*PLACE, *REMAINROOT[:-1], engine, "--"], script, place / "fake") == real
