# SPDX-License-Identifier: GPL-2.0-or-later
# What: inetd starts programs as whom its lines name, and tftpd works in a chroot, as tftp, on files that it makes
# Packages: openbsd-inetd tftpd-hpa curl procps

cat >/etc/inetd.conf <<'END'
7001 stream tcp nowait games.tty /usr/bin/id id
7002 stream tcp nowait nobody /usr/local/bin/serve serve
69 dgram udp wait root /usr/sbin/in.tftpd in.tftpd --user tftp --secure --create /srv/tftp
END
printf '#!/bin/sh\nid\nid >/tmp/by-inetd\nchown games /tmp/by-inetd 2>&1 || echo refused\n' >/usr/local/bin/serve
chmod 755 /usr/local/bin/serve
chown tftp:tftp /srv/tftp
echo public >/srv/tftp/public
echo secret >/srv/tftp/secret
chmod 600 /srv/tftp/secret
echo text >/tmp/text
service openbsd-inetd start
eventually bash -c 'exec 9<>/dev/tcp/127.0.0.1/7001'
bash -c 'exec 9<>/dev/tcp/127.0.0.1/7001; cat <&9'
bash -c 'exec 9<>/dev/tcp/127.0.0.1/7002; cat <&9'
curl -m 20 -sS tftp://127.0.0.1/public
curl -m 20 -s tftp://127.0.0.1/secret || echo refused
timeout 20 perl -e 'socket S, 2, 2, 17; $to = pack "S n C4 x8", 2, 69, 127, 0, 0, 1; send S, "\0\2by-tftp\0octet\0", 0, $to; $from = recv S, $ack, 516, 0; send S, "\0\3\0\1text\n", 0, $from; recv S, $ack, 516, 0; print unpack("H*", $ack), "\n"'
eventually test -s /srv/tftp/by-tftp
owners /tmp/by-inetd /srv/tftp/by-tftp
processes inetd
service openbsd-inetd stop
