# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a device node that was made here: what the device gives, not the empty file that stands for it on disk."""

from __future__ import annotations

import subprocess
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.compiling import abis, program
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, in_turn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.oracle

ROOT = """
    mkdir root root/usr root/dev
    for name in bin lib lib64; do ln -s usr/$name root/$name; done"""
NODES = """
    n=3
    for name in null zero full random urandom; do
        mknod -m 666 root/dev/$name c 1 $n; n=$((n + 2 - n / 7))
    done
    mknod -m 666 root/dev/none c 99 9; mknod root/dev/disk b 8 99"""
READ = r"""
    mount --bind /usr root/usr
    exec chroot root sh -c '
        head -c 4 /dev/zero | od -An -tx1; head -c 3 </dev/full | wc -c; wc -c </dev/null
        dd if=/dev/urandom bs=16 count=2 2>/dev/null | wc -c
        cd dev; head -c 5 random | wc -c; ln -s zero nought; head -c 2 nought | wc -c
        for name in none disk; do cat $name 2>&1; head -c 1 <$name; echo $?; done
        ls -l null | cut -c 1-10
        perl -e "open F, q(/dev/urandom) or die; read F, \$x, 7; print length \$x, qq(\n)"
        exec /usr/bin/python3 -c "
import os
for flags in (os.O_RDONLY, os.O_CREAT, os.O_NOFOLLOW, os.O_DIRECTORY, os.O_PATH):
    try:
        fd = os.open(\"/dev/zero\", flags)
        st = os.fstat(fd)
        print(oct(st.st_mode), st.st_rdev, flags & os.O_PATH or os.read(fd, 3))
    except OSError as error:
        print(error.errno)
print(len(open(\"/dev/urandom\", \"rb\").read(9)))"'"""


def told(prefix: list[str], script: str, place: Path, pure: str = "0") -> list[str]:
    done = subprocess.run(
        [*prefix, "sh", "-c", script], cwd=place, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        env={**environment(), "REMAINROOT_PURE": pure},
    )  # fmt: skip
    return done.stdout.splitlines()


def real(script: str, place: Path) -> list[str]:
    answer = told(["unshare", "--mount"], script, place / "real")
    assert len(answer) > 10
    return answer


def fake(engine: str, *options: str) -> list[str]:
    return [*PLACE, "--mount", *REMAINROOT[:-1], engine, *options, "--"]


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_in_a_root_that_has_them(place: Path, engine: str, pure: str) -> None:
    script = ROOT + NODES + READ
    assert told(fake(engine), script, place / "fake", pure) == real(script, place)


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_in_a_root_that_another_run_has_made(place: Path, engine: str, pure: str) -> None:
    kept = f"--store=durable:{place}/owners.db"
    told(fake("auto", kept), ROOT + NODES, place / "fake")
    expected = real(ROOT + NODES + READ, place)
    assert told(fake(engine, kept), READ, place / "fake", pure) == expected


@pytest.mark.parametrize(("engine", "pure", "minor"), in_turn(*product(["0", "1"], [5, 7, 8, 9])))
def test_wherever_it_is_made_be_it_as_a_user(place: Path, engine: str, pure: str, minor: int) -> None:
    user = "setpriv --reuid=33 --clear-groups"
    script = f"mknod -m 644 node c 1 {minor}; head -c 7 node | wc -c; {user} head -c 5 node | wc -c"
    assert told(fake(engine), script, place / "fake", pure) == ["7", "5"]


@pytest.mark.parametrize("abi", abis())
def test_with_ptrace_by_static_and_narrow_programs_too(place: Path, abi: str) -> None:
    source = place / "source.c"
    source.write_text("""
        #include <fcntl.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {
            char text[9];
            printf("%d\\n", (int)read(open("node", O_RDONLY), text, sizeof text));
            return 0;
        }
    """)
    script = f"mknod node c 1 5; {program(source, abi, '-static', '-no-pie')}"
    assert told(fake("ptrace"), script, place / "fake") == ["9"]


def test_null_alone_marks_nobody(place: Path) -> None:
    look = "grep libc.so /proc/self/maps"
    script = f"mknod null c 1 3; mknod other c 1 3; {look}; mknod disk b 8 1; echo; {look}"
    lines = told(fake("auto"), script, place / "fake")
    assert lines[0].startswith("7")
    assert lines[lines.index("") + 1].startswith("4")


LIST = r"""
    find . -type c | sort; echo; find . -type b; echo; find . -type f | sort; echo; find . -type p
    exec /usr/bin/python3 -c "
import os
print(sorted((entry.name, entry.is_file(), entry.is_dir()) for entry in os.scandir('.')))
fd = os.open('.', os.O_RDONLY)
print(sorted(os.listdir(fd)), os.listdir(fd))" """


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_directory_lists_them_as_what_they_are(place: Path, engine: str, pure: str) -> None:
    make = "mkdir dir; touch dir/file plain; ln -s plain link; mkfifo fifo; mknod dir/disk b 8 1; mknod full c 1 7;"
    script = make + "for i in $(seq 300); do : >dir/some-file-$i; done; mknod dir/zero c 1 5;" + LIST
    assert told(fake(engine), script, place / "fake", pure) == real(script, place)


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("engine", ENGINES)
def test_with_strict_to_all_programs(place: Path, engine: str, pure: str) -> None:
    """To those that were running before, to static ones, and to a user; on tmpfs, whose offsets are narrow, to all."""
    source = place / "source.c"
    source.write_text("""
        #include <dirent.h>
        #include <stdio.h>
        int main(void) {
            DIR *dir = opendir(".");
            for (struct dirent *entry; (entry = readdir(dir));)
                if (entry->d_name[0] != '.')
                    printf("%s %d\\n", entry->d_name, entry->d_type);
            return 0;
        }
    """)
    programs = " ".join(f"{program(source, abi, '-static', '-no-pie')} | sort;" for abi in abis())
    script = f"""
        mkdir dir; mount -t tmpfs none dir; cd dir; exec /usr/bin/python3 -c '
import os, sys
os.mknod("null", 0o020666, os.makedev(1, 3)); os.mknod("disk", 0o060600, os.makedev(8, 1)); open("file", "w").close()
print(sorted((entry.name, entry.is_file(), entry.is_symlink()) for entry in os.scandir()), flush=True)
os.system(sys.argv[1])
os.mkdir("secret", 0o700); os.mknod("secret/tty", 0o020666, os.makedev(5, 0))
os.chmod(".", 0o755); os.setgid(33); os.setuid(33)
print(sorted((entry.name, entry.is_file()) for entry in os.scandir()), flush=True)
os.system("ls secret 2>/dev/null || echo $?; find . -maxdepth 1 -type c")' \
            '{programs} find . -type c; find . -type b'"""
    expected = real(script, place)
    assert f"null {0o020000 >> 12}" in expected
    assert told(fake(engine, "--strict"), script, place / "fake", pure) == expected
