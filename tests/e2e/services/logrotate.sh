# SPDX-License-Identifier: GPL-2.0-or-later
# What: logrotate gives new logs to whom its configuration says, and keeps the old ones' owners
# Packages: logrotate gzip

install -o games -g adm -m 640 /dev/null /var/log/of-games.log
install -d -o www-data -g adm -m 750 /var/log/www
runuser -u www-data -- sh -c 'echo text >/var/log/www/a.log'
echo text >/var/log/of-games.log
echo text >/var/log/of-root.log
cat >/etc/logrotate.d/box <<'END'
/var/log/of-games.log { rotate 2
 compress
 create
}
/var/log/of-root.log { rotate 2
 create 0660 root utmp
 postrotate
  id >/tmp/postrotate
 endscript
}
/var/log/www/*.log { su www-data adm
 rotate 2
 create 0640 www-data adm
}
END
logrotate --force /etc/logrotate.conf
(cd /var/log; owners of-games.log of-games.log.1.gz of-root.log of-root.log.1 www/a.log www/a.log.1 wtmp)
cat /tmp/postrotate
owners /var/lib/logrotate/status
