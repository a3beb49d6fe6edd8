# SPDX-License-Identifier: GPL-2.0-or-later
# What: smbd becomes its client's user for each request, in threads too, and files are the user's
# Packages: samba smbclient procps

a_user alice 1500
printf '[global]\nworkgroup = BOX\ninterfaces = lo\nbind interfaces only = yes\nlog file = /var/log/samba/log\n[share]\npath = /srv/share\nread only = no\n' >/etc/samba/smb.conf
install -d -m 1777 /srv/share
printf 'secret\nsecret\n' | smbpasswd -s -a alice
service smbd start
eventually smbclient -U alice%secret -c ls //127.0.0.1/share
echo text >/tmp/text
smbclient -U alice%secret -c 'put /tmp/text by-smb; mkdir dir; put /tmp/text dir/two' //127.0.0.1/share >&2
smbclient -U alice%wrong -c ls //127.0.0.1/share || echo refused
owners /srv/share/by-smb /srv/share/dir /srv/share/dir/two
processes smbd | sed 's/ *[0-9]* //'
service smbd stop
