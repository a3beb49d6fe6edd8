# SPDX-License-Identifier: GPL-2.0-or-later
# What: git trusts no other's repository, but root's by sudo, and its daemon serves users' and takes pushes as gitdaemon
# Packages: git sudo adduser procps

a_user alice 1500
adduser --system --group --home /srv/git gitdaemon >&2
as() { who=$1; shift; (cd / && sudo -n -H -u "$who" "$@"); }
as gitdaemon git init -q --bare -b main /srv/git/own.git
as gitdaemon touch /srv/git/own.git/git-daemon-export-ok
as gitdaemon git -C /srv/git/own.git config daemon.receivepack true
as alice git init -q -b main /home/alice/work
as alice git -C /home/alice/work config user.email alice@box
as alice git -C /home/alice/work config user.name Alice
as alice sh -c 'cd work; echo text >file; git add file; git commit -qm one' 2>/dev/null ||
	as alice sh -c 'cd /home/alice/work; echo text >file; git add file; git commit -qm one'
git -C /home/alice/work log --format=%s 2>&1 | grep -o 'dubious ownership' || echo trusted
as gitdaemon git -C /home/alice/work log --format=%s 2>&1 | grep -o 'dubious ownership' || echo trusted
(cd /home/alice/work && SUDO_UID=1500 git log --format=%s)
cp -r /srv/git/own.git /srv/git/roots.git
touch /srv/git/roots.git/git-daemon-export-ok
chown -R alice:alice /srv/git/roots.git
git daemon --user=gitdaemon --group=gitdaemon --base-path=/srv/git --listen=127.0.0.1 --detach --pid-file=/run/git-daemon.pid /srv/git
eventually git ls-remote git://127.0.0.1/own.git
as alice git -C /home/alice/work push -q git://127.0.0.1/own.git main
as games git -C /tmp clone -q git://127.0.0.1/own.git /tmp/copy
as games git -C /tmp/copy log --format='%s %an'
as games git ls-remote git://127.0.0.1/roots.git >/dev/null 2>&1 || echo refused
find /srv/git/own.git/objects /srv/git/own.git/refs -type f -printf '%u:%g %m\n' | sort | uniq -c
stat -c '%U:%G %a' /tmp/copy /tmp/copy/file
stat -c '%U:%G' "/proc/$(cat /run/git-daemon.pid)"
kill "$(cat /run/git-daemon.pid)"
