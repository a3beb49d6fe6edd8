# SPDX-License-Identifier: GPL-2.0-or-later
# What: named is bind, answers, and writes its zones
# Packages: bind9 bind9-utils bind9-dnsutils procps

cat >/etc/bind/named.conf.local <<'END'
zone "box" { type primary; file "/var/lib/bind/box.zone"; allow-update { 127.0.0.1; }; };
END
printf '$TTL 60\n@ IN SOA ns root 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 127.0.0.42\n' >/var/lib/bind/box.zone
chown bind:bind /var/lib/bind/box.zone
named-checkconf -z | grep 'zone box'
service named start
eventually dig +short @127.0.0.1 www.box
dig +short @127.0.0.1 www.box
printf 'server 127.0.0.1\nzone box\nupdate add new.box 60 A 127.0.0.43\nsend\n' | nsupdate
dig +short @127.0.0.1 new.box
rndc sync
eventually test -e /var/lib/bind/box.zone.jnl
owners /var/lib/bind /var/lib/bind/box.zone /var/lib/bind/box.zone.jnl /etc/bind/rndc.key /run/named
processes named
service named stop >/dev/null
