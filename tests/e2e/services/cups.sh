# SPDX-License-Identifier: GPL-2.0-or-later
# What: cupsd takes jobs of users, knows root by its socket, and runs filters and a backend as lp, one of mode 700 as root
# Packages: cups cups-client procps

a_user alice 1500
printf '#!/bin/sh\n[ $# -gt 0 ] || { echo "direct tofile \"Unknown\" \"To a file\""; exit; }\nn=${0##*/}; (id -un; id -gn; echo "$2"; cat "$6") >"/var/spool/cups/tmp/by-$n" 2>&1\n' >/usr/lib/cups/backend/tofile
cp /usr/lib/cups/backend/tofile /usr/lib/cups/backend/asroot
chmod 755 /usr/lib/cups/backend/tofile
chmod 700 /usr/lib/cups/backend/asroot
service cups start
eventually lpstat -r
lpadmin -p lpuser -E -v tofile:/dev/null -m raw 2>/dev/null
lpadmin -p lproot -E -v asroot:/dev/null -m raw 2>/dev/null
runuser -u alice -- lpadmin -p third -E -v tofile:/dev/null -m raw </dev/null >/dev/null 2>&1 || echo refused
lpstat -v
echo text >/tmp/text
runuser -u alice -- lp -d lpuser /tmp/text
runuser -u alice -- lp -d lproot /tmp/text
eventually test -s /var/spool/cups/tmp/by-lpuser -o -s /var/spool/cups/tmp/by-tofile
eventually test -s /var/spool/cups/tmp/by-lproot -o -s /var/spool/cups/tmp/by-asroot
sleep 1
cat /var/spool/cups/tmp/by-*
owners /var/spool/cups/tmp/by-* /var/spool/cups /run/cups/cups.sock /run/cups/certs
eventually sh -c 'test -z "$(lpstat -o)"'
lpstat -W completed -o | awk '{print $1, $2}'
processes cupsd
service cups stop
