# SPDX-License-Identifier: GPL-2.0-or-later
# What: Redis is its own user, answers, and saves
# Packages: redis-server redis-tools procps

service redis-server start
eventually redis-cli ping
redis-cli set key value
redis-cli get key
redis-cli save
processes redis-server
owners /var/lib/redis /var/lib/redis/dump.rdb /var/log/redis/redis-server.log /run/redis/redis-server.pid
service redis-server stop

### a new run

service redis-server start
eventually redis-cli ping
redis-cli get key
owners /var/lib/redis/dump.rdb
service redis-server stop
