# SPDX-License-Identifier: GPL-2.0-or-later
# What: useradd, adduser, usermod, passwd, chage, gpasswd, newgrp, crontab and userdel keep their files and owners
# Packages: adduser passwd login cron

useradd -m -k /etc/skel -s /bin/sh carol
adduser --quiet --disabled-password --gecos '' dave
adduser --quiet --system --group --home /var/lib/daemonic daemonic
groupadd -g 4242 -p "$(perl -e 'print crypt "teamwork", q($6$salt$)')" team
printf 'carol:secret\n' | chpasswd
usermod -aG team,games carol
gpasswd -a dave team
owners /home/carol /home/carol/.profile /home/dave /home/dave/.bashrc /var/lib/daemonic /etc/shadow /etc/gshadow \
	/usr/bin/passwd /usr/bin/chage
id -nG carol; id -nG dave; id -nG daemonic

# As themselves, by set-user-id and set-group-id programs.
runuser -u carol -- sh -c 'printf "secret\nmore-Secret-7\nmore-Secret-7\n" | passwd' 2>&1
runuser -u carol -- sh -c 'echo more-Secret-7 | su carol -c whoami' 2>&1
runuser -u carol -- chage -l carol | grep -c never
runuser -u games -- chage -l carol 2>&1 || echo refused
runuser -u carol -- sh -c 'echo id -nG | newgrp team'
runuser -u games -- sh -c 'echo teamwork | sg team -c "id -gn"' 2>&1 || echo refused
runuser -u carol -- sh -c 'echo more-Secret-7 | chsh -s /bin/bash' 2>&1
getent passwd carol | cut -d : -f 6,7
runuser -u games -- passwd -l carol 2>&1 || echo refused
passwd -S carol | cut -d ' ' -f 1,2
passwd -l carol
passwd -S carol | cut -d ' ' -f 1,2
owners /etc/passwd /etc/shadow /etc/group /etc/gshadow

chown -R dave:team /home/dave
usermod -d /srv/dave -m dave
owners /srv/dave /srv/dave/.profile
userdel -r carol
deluser --quiet --remove-home dave
ls /home /srv
getent passwd carol dave || echo gone
