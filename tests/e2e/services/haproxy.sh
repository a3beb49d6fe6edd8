# SPDX-License-Identifier: GPL-2.0-or-later
# What: haproxy is haproxy in a chroot, php-fpm's pool is www-data, and a page comes through both and nginx
# Packages: haproxy php-fpm nginx-light curl procps

printf '<?php echo posix_getuid(), " ", get_current_user(), "\\n"; touch("/tmp/by-php");' >/var/www/html/who.php
socket=$(ls /etc/php)
sed -i "s|^\tindex .*|\tlocation ~ php\$ { include fastcgi.conf; fastcgi_pass unix:/run/php/php$socket-fpm.sock; }|" /etc/nginx/sites-available/default
printf 'frontend f\n bind 127.0.0.1:8080\n mode http\n default_backend b\nbackend b\n mode http\n server s 127.0.0.1:80\n' >>/etc/haproxy/haproxy.cfg
service "php$socket-fpm" start >&2
service nginx start
service haproxy start
eventually curl -fs http://127.0.0.1:8080/who.php
curl -fs http://127.0.0.1:8080/who.php
owners /tmp/by-php "/run/php/php$socket-fpm.sock"
processes haproxy | sed 's/ *[0-9]* //'
processes "php-fpm$socket" | sed 's/ *[0-9]* //'
service haproxy stop
service nginx stop
service "php$socket-fpm" stop >&2
