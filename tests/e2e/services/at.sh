# SPDX-License-Identifier: GPL-2.0-or-later
# What: atd runs jobs as whom they belong to
# Packages: at procps

a_user alice 1500
service atd start
echo 'id >/tmp/at-job-root' | at now
runuser -u alice -- sh -c 'cd; echo "id >/tmp/at-job-alice; pwd >>/tmp/at-job-alice" | at now'
eventually test -s /tmp/at-job-root
eventually test -s /tmp/at-job-alice
sleep 1
cat /tmp/at-job-root /tmp/at-job-alice
owners /tmp/at-job-*
echo true | runuser -u alice -- at tomorrow
runuser -u alice -- atq | awk '{print $NF}'
atq | awk '{print $NF}'
runuser -u games -- atq | wc -l
owners /var/spool/cron/atjobs /usr/bin/at
stat -c '%U:%G %a' /var/spool/cron/atjobs/[a-z]*
processes atd
runuser -u alice -- sh -c 'atrm $(atq | cut -f 1)'
atq
service atd stop
