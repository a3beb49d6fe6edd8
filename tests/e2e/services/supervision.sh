# SPDX-License-Identifier: GPL-2.0-or-later
# What: chpst, setuidgid, envuidgid and supervisord start programs as others, in a chroot, and runsvdir keeps them running
# Packages: runit daemontools supervisor busybox-static procps

a_user alice 1500
chpst -u games id
chpst -u games:tty:mail id
chpst -u :60:12:13 id
setuidgid games id
envuidgid alice sh -c 'echo "$UID $GID"; id -u'
mkdir -p /srv/jail
cp /bin/busybox /srv/jail/sh
mkdir -p /srv/jail/etc
cp /etc/passwd /etc/group /srv/jail/etc/
chpst -u games -/ /srv/jail /sh -c 'echo *; id -u'
chpst -m 100000000 -o 100 -U alice sh -c 'ulimit -n; echo "$UID"; id -u'
runuser -u alice -- chpst -u games id 2>/dev/null || echo refused
mkdir -p /srv/services/sleeper/log
printf '#!/bin/sh\nexec 2>&1\necho begun\nexec chpst -u games:tty sleep 1000\n' >/srv/services/sleeper/run
printf '#!/bin/sh\nexec chpst -u alice svlogd /srv/log\n' >/srv/services/sleeper/log/run
chmod 755 /srv/services/sleeper/run /srv/services/sleeper/log/run
install -d -o alice -g alice /srv/log
runsvdir /srv/services &
eventually sv check /srv/services/sleeper
eventually test -s /srv/log/current
cat /srv/log/current
owners /srv/log/current
processes sleep svlogd runsv
sv down /srv/services/sleeper >/dev/null
kill -HUP $!
printf '[unix_http_server]\nfile=/run/supervisor.sock\nchmod=0770\nchown=alice:games\n[supervisord]\nlogfile=/var/log/supervisor/supervisord.log\npidfile=/run/supervisord.pid\n[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[supervisorctl]\nserverurl=unix:///run/supervisor.sock\n[program:sleeper]\ncommand=sleep 2000\nuser=alice\n[program:touch]\ncommand=sh -c "id; touch /tmp/by-supervisor; sleep 3000"\nuser=games\numask=027\nstdout_logfile=/var/log/supervisor/touch.log\n' 	>/etc/supervisor/supervisord.conf
supervisord
eventually test -e /tmp/by-supervisor
eventually sh -c 'supervisorctl status | grep -c RUNNING | grep 2'
runuser -u alice -- supervisorctl status | awk '{print $1, $2}'
cat /var/log/supervisor/touch.log
owners /tmp/by-supervisor /run/supervisor.sock
processes sleep
supervisorctl shutdown
