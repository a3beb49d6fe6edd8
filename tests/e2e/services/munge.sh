# SPDX-License-Identifier: GPL-2.0-or-later
# What: munged is munge, wants its key to itself, and vouches for whom the kernel says is calling
# Packages: munge procps

a_user alice 1500
a_user bob 1591
service munge start
eventually munge -n
munge -n | unmunge | grep -E '^(STATUS|UID|GID)'
runuser -u alice -- munge -s text >/tmp/credential
runuser -u games -- unmunge </tmp/credential | grep -vE '^(ENCODE|DECODE|TTL|CIPHER|MAC|ZIP)'
runuser -u alice -- munge -s text -u bob >/tmp/credential
unmunge </tmp/credential 2>&1 | grep -E '^(STATUS|UID|GID|unmunge)' || :
runuser -u bob -- unmunge </tmp/credential 2>&1 | grep -E '^(STATUS|UID)'
owners /etc/munge /etc/munge/munge.key /var/lib/munge /run/munge /run/munge/* /var/log/munge/munged.log
processes munged
service munge stop
chown games /etc/munge/munge.key
service munge start >/dev/null 2>&1 || echo refused
