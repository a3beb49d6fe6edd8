# SPDX-License-Identifier: GPL-2.0-or-later
# What: proftpd switches to and fro between root and its user and keeps a user in a chroot
# Packages: proftpd-core curl procps

a_user alice 1500
echo alice:secret | chpasswd
cat >/etc/proftpd/conf.d/box.conf <<'END'
DefaultAddress 127.0.0.1
UseIPv6 off
DefaultRoot ~
UseReverseDNS off
<Anonymous ~ftp>
  User ftp
  Group nogroup
  UserAlias anonymous ftp
  RequireValidShell off
  <Limit WRITE>
    DenyAll
  </Limit>
</Anonymous>
END
echo public >/srv/ftp/public
service proftpd start
echo text >/tmp/text
eventually curl -fs ftp://127.0.0.1/public
curl -s ftp://127.0.0.1/public
curl -sS -T /tmp/text -u alice:secret ftp://127.0.0.1/by-ftp
curl -s -u alice:secret -Q '-SITE CHMOD 600 by-ftp' ftp://127.0.0.1/by-ftp
curl -s -u alice:secret ftp://127.0.0.1/%2Fetc/passwd || echo 'in a chroot'
curl -s -u alice:secret ftp://127.0.0.1/ | awk '/by-ftp$/ {print $1, $3, $4, $NF}'
curl -s -T /tmp/text ftp://127.0.0.1/by-anybody || echo refused
curl -s -u alice:wrong ftp://127.0.0.1/ || echo refused
curl -s -u alice:secret -Q '-SITE CHGRP games by-ftp' ftp://127.0.0.1/ >/dev/null || echo refused
ftpwho | sed -n 's/^standalone.*/standalone/p'
owners /home/alice/by-ftp /run/proftpd /var/log/proftpd/proftpd.log
processes proftpd
service proftpd stop
