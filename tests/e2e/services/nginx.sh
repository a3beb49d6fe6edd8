# SPDX-License-Identifier: GPL-2.0-or-later
# What: nginx's workers are www-data and serve a page; logs are www-data's
# Packages: nginx-light curl procps

echo 'a page' >/var/www/html/index.html
sed -i 's/^worker_processes.*/worker_processes 2;/' /etc/nginx/nginx.conf
nginx -t
service nginx start
eventually curl -fs http://127.0.0.1/
curl -fs http://127.0.0.1/
head -c 200000 /dev/zero | curl -s -o /dev/null -w '%{http_code}\n' --data-binary @- http://127.0.0.1/
processes nginx
owners /var/log/nginx/access.log /var/lib/nginx/body
kill -USR1 "$(cat /run/nginx.pid)"
eventually curl -fs http://127.0.0.1/
service nginx reload
eventually curl -fs http://127.0.0.1/
service nginx stop
