# SPDX-License-Identifier: GPL-2.0-or-later
# What: unbound, nsd and knot are their users, unbound and nsd in chroots, and each answers and is told by its tool
# Packages: unbound nsd knot bind9-dnsutils procps

mkdir -p /etc/unbound/unbound.conf.d /var/lib/unbound
rm -f /etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf
printf 'server:\n interface: 127.0.0.1@5301\n chroot: "/etc/unbound"\n directory: "/etc/unbound"\n username: unbound\n do-ip6: no\n use-syslog: no\n local-zone: box static\n local-data: "www.box A 127.0.0.41"\n do-not-query-localhost: no\nforward-zone:\n name: "other"\n forward-addr: 127.0.0.1@5302\nremote-control:\n control-enable: yes\n control-interface: /run/unbound.ctl\n' >/etc/unbound/unbound.conf.d/box.conf
printf '$ORIGIN other.\n$TTL 60\n@ IN SOA ns root 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 127.0.0.42\n' >/var/lib/nsd/other.zone
mkdir -p /var/lib/nsd/etc/nsd /run/nsd
printf 'server:\n ip-address: 127.0.0.1@5302\n username: nsd\n chroot: "/var/lib/nsd"\n zonesdir: "/var/lib/nsd"\n database: ""\n pidfile: "/var/lib/nsd/nsd.pid"\n xfrdir: "/var/lib/nsd"\n xfrdfile: "/var/lib/nsd/xfrd.state"\n zonelistfile: "/var/lib/nsd/zone.list"\n logfile: "/var/lib/nsd/nsd.log"\nremote-control:\n control-enable: no\nzone:\n name: other\n zonefile: other.zone\n' >/etc/nsd/nsd.conf
chown -R nsd:nsd /var/lib/nsd
printf 'server:\n  rundir: /run/knot\n  user: knot:knot\n  listen: 127.0.0.1@5303\nlog:\n- target: stderr\n  any: error\ndatabase:\n  storage: /var/lib/knot\ntemplate:\n- id: default\n  storage: /var/lib/knot\n  file: "%%s.zone"\nzone:\n- domain: third\n' >/etc/knot/knot.conf
printf '$ORIGIN third.\n$TTL 60\n@ IN SOA ns root 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 127.0.0.43\n' >/var/lib/knot/third.zone
install -d -o knot -g knot /run/knot
chown knot:knot /var/lib/knot/third.zone
unbound-checkconf
unbound
nsd -c /etc/nsd/nsd.conf
knotd -d
eventually dig +short @127.0.0.1 -p 5301 www.box
eventually sh -c 'dig +short @127.0.0.1 -p 5302 www.other | grep 127'
eventually sh -c 'dig +short @127.0.0.1 -p 5303 www.third | grep 127'
dig +short @127.0.0.1 -p 5301 www.box
dig +short @127.0.0.1 -p 5301 www.other
dig +short @127.0.0.1 -p 5303 www.third
knotc zone-begin third
knotc zone-set third new 60 A 127.0.0.44
knotc zone-commit third
knotc zone-flush third
dig +short @127.0.0.1 -p 5303 new.third
owners /var/lib/nsd/nsd.log /var/lib/knot/* /run/knot/* /run/unbound.ctl
processes unbound knotd
for pid in $(pgrep -ox unbound) $(pgrep -ox knotd) $(cat /var/lib/nsd/nsd.pid); do stat -c '%U %N' "/proc/$pid/root"; done | sed 's/ .*-> / /'
unbound-control stop 2>&1 || pkill -x unbound
kill "$(cat /var/lib/nsd/nsd.pid)"
knotc stop
