# SPDX-License-Identifier: GPL-2.0-or-later
# What: systemd-sysusers makes users, systemd-tmpfiles --create what they own, with access lists
# Packages: systemd acl

cat >/usr/lib/sysusers.d/box.conf <<'END'
u boxer 777 "A boxer" /var/lib/boxer
g ring 778
m boxer ring
END
systemd-sysusers
id boxer
cat >/usr/lib/tmpfiles.d/box.conf <<'END'
d /var/lib/boxer 2750 boxer ring
f /var/lib/boxer/file 0640 boxer adm - text
L /var/lib/boxer/link - - - - file
p /var/lib/boxer/pipe 0600 boxer
c /var/lib/boxer/null 0666 root root - 1:3
z /var/log/lastlog 0664 root utmp
a+ /var/lib/boxer/file - - - - u:games:r--
A+ /var/lib/boxer - - - - d:g:games:r-x
END
systemd-tmpfiles --create /usr/lib/tmpfiles.d/box.conf
owners /var/lib/boxer /var/lib/boxer/*
getfacl -p /var/lib/boxer /var/lib/boxer/file
systemd-tmpfiles --create
owners /var/log/journal /run/log /tmp /var/tmp 2>/dev/null || :
