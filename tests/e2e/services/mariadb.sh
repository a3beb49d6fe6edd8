# SPDX-License-Identifier: GPL-2.0-or-later
# What: MariaDB is mysql, lets in whom the kernel says is calling, and finds its data again in a new run
# Packages: mariadb-server mariadb-client procps

service mariadb start >&2
mariadb -Nse 'select current_user(); create database d; create table d.t (n int); insert into d.t values (42)'
mariadb -e "create user 'www-data'@'localhost' identified via unix_socket; grant select on d.* to 'www-data'@'localhost'"
runuser -u www-data -- mariadb -Nse 'select current_user(), n from d.t'
runuser -u games -- mariadb -u www-data -Nse 'select 1' 2>&1 | grep -o 'Access denied.*'
processes mariadbd
owners /var/lib/mysql /var/lib/mysql/d /var/lib/mysql/d/t.frm /run/mysqld/mysqld.sock
service mariadb stop >&2

### a new run

service mariadb start >&2
runuser -u www-data -- mariadb -Nse 'select current_user(), n from d.t'
find /var/lib/mysql ! -user mysql ! -name 'debian-*'
service mariadb stop >&2
