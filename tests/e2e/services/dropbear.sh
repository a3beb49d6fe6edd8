# SPDX-License-Identifier: GPL-2.0-or-later
# What: dropbear lets root and a user in by key, gives the user's terminal away, and who, last and w know who was there
# Packages: dropbear-bin procps

a_user alice 1500
mkdir -p /etc/dropbear /root/.ssh
dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/dev/null 2>&1
dropbearkey -t ed25519 -f /root/.ssh/id_dropbear 2>/dev/null | grep ^ssh- >/root/.ssh/authorized_keys
install -d -o alice -g alice -m 700 /home/alice/.ssh
install -o alice -g alice -m 600 /root/.ssh/authorized_keys /home/alice/.ssh/authorized_keys
: >/run/utmp
chown root:utmp /run/utmp
chmod 664 /run/utmp
dropbear -p 127.0.0.1:22 -E
log_in() { dbclient -y -y -i /root/.ssh/id_dropbear "$@"; }
eventually log_in alice@127.0.0.1 true
log_in alice@127.0.0.1 'id; touch by-dropbear; cat /etc/shadow 2>/dev/null | wc -l >/dev/null; kill -0 1 2>/dev/null || echo refused'
log_in root@127.0.0.1 'id'
sleep 4 | script -qec "dbclient -y -y -i /root/.ssh/id_dropbear -t alice@127.0.0.1 'stat -c %U:%G:%a \$(tty); who | cut -d \" \" -f 1; sleep 1'" /dev/null 2>/dev/null | tr -d '\r' | grep alice
chmod 777 /home/alice
log_in alice@127.0.0.1 id </dev/null || echo refused
owners /home/alice/by-dropbear /etc/dropbear/dropbear_ed25519_host_key /run/utmp /var/log/wtmp
last | awk '$1 == "alice" {print $1, $3}' | grep -v tmux | sort -u
processes dropbear
pkill -x dropbear
