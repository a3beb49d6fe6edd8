# SPDX-License-Identifier: GPL-2.0-or-later
# What: Apache's workers are www-data, serve a page and run a CGI program
# Packages: apache2 curl procps

echo 'a page' >/var/www/html/index.html
printf '#!/bin/sh\necho Content-Type: text/plain\necho\nid\ntouch /tmp/by-cgi\n' >/usr/lib/cgi-bin/id
chmod 755 /usr/lib/cgi-bin/id
a2enmod -q cgid
echo 'ServerName box' >/etc/apache2/conf-enabled/name.conf
apache2ctl configtest
service apache2 start
eventually curl -fs http://127.0.0.1/
curl -fs http://127.0.0.1/
curl -fs http://127.0.0.1/cgi-bin/id
owners /tmp/by-cgi /var/log/apache2/access.log
processes apache2 | sed 's/ *[0-9]* //'
apache2ctl graceful
eventually curl -fs http://127.0.0.1/
service apache2 stop
