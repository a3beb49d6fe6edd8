# SPDX-License-Identifier: GPL-2.0-or-later
# What: cron runs jobs of root, of a user's crontab and of /etc/cron.d, each as whom it belongs to
# Packages: cron procps

a_user alice 1500
printf '@reboot id >/tmp/cron-job-root; stat -c %%U /proc/$PPID >>/tmp/cron-job-root\n' | crontab -
runuser -u alice -- sh -c "printf '@reboot id >/tmp/cron-job-alice; pwd >>/tmp/cron-job-alice\n' | crontab -"
echo '@reboot games id >/tmp/cron-job-games' >/etc/cron.d/games
runuser -u alice -- crontab -l
crontab -u alice -l
owners /var/spool/cron/crontabs /var/spool/cron/crontabs/alice /usr/bin/crontab
runuser -u games -- crontab -u alice -l 2>&1 || echo refused
rm -f /run/crond.reboot
service cron start
for job in root alice games; do
	eventually test -s "/tmp/cron-job-$job"
done
sleep 1
cat /tmp/cron-job-root /tmp/cron-job-alice /tmp/cron-job-games
owners /tmp/cron-job-*
processes cron
service cron stop
