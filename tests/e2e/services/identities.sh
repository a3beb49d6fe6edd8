# SPDX-License-Identifier: GPL-2.0-or-later
# What: sudo, su, runuser, gosu, setpriv, start-stop-daemon and perl change who they are, and files follow
# Packages: sudo gosu perl-base

sudo -n -u nobody id
sudo -n -u nobody -g games id
su -s /bin/sh games -c 'id; touch /tmp/by-su; stat -c %U:%G /tmp/by-su'
runuser -u www-data -- sh -c 'mkdir /tmp/by-runuser; stat -c "%U:%G %a" /tmp/by-runuser'
gosu daemon:tty sh -c 'id; touch /tmp/by-gosu; stat -c %U:%G /tmp/by-gosu; gosu root id' 2>&1 || echo refused
setpriv --reuid=33 --regid=33 --groups=4,8 --inh-caps=-all sh -c 'id; kill -0 1; chown 0 /tmp/by-su' 2>&1 || echo refused
perl -e '$) = "33 33"; $> = 33; open F, ">/tmp/by-perl"; print "$< $> $( $) ", join(":", (stat F)[4,5]), "\n"'
start-stop-daemon --start --chuid daemon --exec /usr/bin/id
start-stop-daemon --start --background --make-pidfile --pidfile /run/sleeper.pid --chuid games:tty --umask 027 \
	--exec /bin/sh -- -c 'touch /tmp/by-ssd; sleep 1000'
eventually test -e /tmp/by-ssd
stat -c '%U:%G %a' /tmp/by-ssd "/proc/$(cat /run/sleeper.pid)"
start-stop-daemon --stop --pidfile /run/sleeper.pid --user games
chown 5:6 /tmp/by-su; install -o man -g tty -m 2755 -d /tmp/dir; touch /tmp/dir/inherits
stat -c '%u:%g %a %F' /tmp/by-su /tmp/dir /tmp/dir/inherits
mknod /tmp/null c 1 3; mknod /tmp/loop b 7 0; stat -c '%F %t:%T' /tmp/null /tmp/loop
tar -C /tmp --numeric-owner -cf - null loop dir by-su | tar -tvf - | awk '{print $1, $2, $3, $NF}'

# By set-id programs, as a user.
a_user erin 1501
usermod -aG games erin
echo 'erin ALL=(www-data:www-data) NOPASSWD: /usr/bin/id' >/etc/sudoers.d/erin
chmod 440 /etc/sudoers.d/erin
echo 'erin:secret' | chpasswd
runuser -u erin -- sudo -n -u www-data /usr/bin/id
runuser -u erin -- sudo -n id 2>&1 || echo refused
runuser -u erin -- sh -c 'echo secret | su erin -c "id -un"' 2>&1
runuser -u erin -- sh -c 'echo wrong | su -c id' 2>&1 || echo refused
runuser -u erin -- sg games id
