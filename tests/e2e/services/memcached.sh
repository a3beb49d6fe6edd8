# SPDX-License-Identifier: GPL-2.0-or-later
# What: memcached is its own user, and answers
# Packages: memcached libmemcached-tools procps

service memcached start
eventually memcping --servers=127.0.0.1
echo value >/tmp/key
memccp --servers=127.0.0.1 /tmp/key
memccat --servers=127.0.0.1 key
processes memcached
service memcached stop
