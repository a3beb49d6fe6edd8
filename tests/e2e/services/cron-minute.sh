# SPDX-License-Identifier: GPL-2.0-or-later
# What: cron runs a user's job when its minute has come
# Packages: cron

a_user alice 1500
echo '* * * * * id >/tmp/minute' | crontab -u alice -
service cron start
eventually test -s /tmp/minute
sleep 1
cat /tmp/minute
owners /tmp/minute
crontab -u alice -r
service cron stop
