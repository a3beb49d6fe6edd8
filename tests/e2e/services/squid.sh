# SPDX-License-Identifier: GPL-2.0-or-later
# What: squid's processes are proxy, and fetch a page that nginx serves
# Packages: squid nginx-light curl procps

echo 'a page' >/var/www/html/index.html
service nginx start
printf 'cache_dir ufs /var/spool/squid 16 4 4\ndns_nameservers 127.0.0.1\nshutdown_lifetime 0 seconds\n' >/etc/squid/conf.d/box.conf
squid -N -z 2>/dev/null
service squid start
eventually curl -fs -x http://127.0.0.1:3128 http://127.0.0.1/
curl -fs -x http://127.0.0.1:3128 http://127.0.0.1/
eventually test -s /var/log/squid/access.log
processes squid | sed 's/ *[0-9]* //'
owners /var/spool/squid /var/spool/squid/00 /var/log/squid/access.log
service squid stop
service nginx stop
