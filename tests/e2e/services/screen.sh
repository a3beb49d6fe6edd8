# SPDX-License-Identifier: GPL-2.0-or-later
# What: screen, set-user-id, shares a session between users, tmux keeps others off its socket, and who knows of both
# Packages: screen tmux procps

a_user alice 1500
a_user bob 1591
chmod 4755 /usr/bin/screen
mkdir -p /run/screen
chmod 755 /run/screen
: >/run/utmp
chown root:utmp /run/utmp
chmod 664 /run/utmp
cd /tmp
printf 'multiuser on\nacladd bob\ndeflogin on\n' >/home/alice/.screenrc
export TERM=xterm
runuser -u alice -- env HOME=/home/alice screen -dmS shared sh
eventually runuser -u alice -- screen -ls shared
runuser -u bob -- screen -S alice/shared -X stuff 'id >/tmp/by-screen; stat -c "%U:%G %a" $(tty) >>/tmp/by-screen; who | tr -s " " | cut -d " " -f 1 >>/tmp/by-screen; touch /tmp/screen-done\n'
eventually test -e /tmp/screen-done
cat /tmp/by-screen
runuser -u games -- screen -S alice/shared -X stuff 'touch /tmp/by-games\n' >/dev/null 2>&1 || echo refused
owners /run/screen/* /tmp/by-screen
processes screen
runuser -u bob -- screen -S alice/shared -X quit
runuser -u alice -- tmux -S /tmp/tmux-socket new-session -d 'id >/tmp/by-tmux; stat -c "%U:%G %a" $(tty) >>/tmp/by-tmux; touch /tmp/tmux-done; sleep 1000'
eventually test -e /tmp/tmux-done
cat /tmp/by-tmux
chmod 666 /tmp/tmux-socket
runuser -u bob -- tmux -S /tmp/tmux-socket ls 2>&1 | sed 's/(.*//' || echo refused
runuser -u alice -- tmux -S /tmp/tmux-socket server-access -a bob
runuser -u bob -- tmux -S /tmp/tmux-socket ls 2>&1 | sed 's/(.*//' || echo refused
owners /tmp/by-tmux
runuser -u alice -- tmux -S /tmp/tmux-socket kill-server
