# SPDX-License-Identifier: GPL-2.0-or-later
# What: rsync's daemon is, for each module, whom it names, in a chroot or not, and keeps the owners that root's may set
# Packages: rsync procps

install -d -o games -g tty /srv/up
install -d -o nobody /srv/outside
install -d /srv/all
cat >/etc/rsyncd.conf <<'END'
address = 127.0.0.1
secrets file = /etc/rsyncd.secrets
[up]
path = /srv/up
uid = games
gid = tty
read only = no
[all]
path = /srv/all
uid = root
gid = *
read only = no
auth users = alice
numeric ids = yes
[outside]
path = /srv/outside
use chroot = no
uid = nobody
gid = nogroup
read only = no
END
echo alice:secret >/etc/rsyncd.secrets
chmod 600 /etc/rsyncd.secrets
echo secret >/tmp/secret
chmod 600 /tmp/secret
mkdir /tmp/from
echo one >/tmp/from/one
install -o daemon -g mail -m 4755 /bin/true /tmp/from/two
mknod /tmp/from/null c 1 3
ln -s one /tmp/from/link
chown -h man:man /tmp/from/link
rsync --daemon
eventually rsync rsync://127.0.0.1/
rsync rsync://127.0.0.1/ | tr -s '\t ' ' '
rsync -rlp /tmp/from/ rsync://127.0.0.1/up/
rsync -a --password-file=/tmp/secret /tmp/from/ rsync://alice@127.0.0.1/all/ || :
echo wrong >/tmp/secret
rsync -a --password-file=/tmp/secret /tmp/from/ rsync://alice@127.0.0.1/all/ 2>/dev/null || echo refused
rsync -a /tmp/from/one rsync://127.0.0.1/outside/three
cd /srv
stat -c '%U:%G %a %F %t:%T %n' up/* all/* outside/*
eventually sh -c 'test $(pgrep -cx rsync) = 1'
processes rsync
pkill -x rsync
