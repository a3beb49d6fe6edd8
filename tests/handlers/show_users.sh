# SPDX-License-Identifier: GPL-2.0-or-later
# What tools say of two tasks, this one and one that runs as www-data:backup with two groups. Prints no pid.
#
# sh show_users.sh status: what asks for a file's status. sh show_users.sh read: what reads without asking, and is known
# for it.

setpriv --reuid=33 --regid=34 --groups=7,9 --inh-caps=-all sleep 60 &
pid=$!
until grep -qs sleep "/proc/$pid/comm"; do sleep 0.01; done

say() {
	echo "$* $("$@" 2>&1)" | sed "s/$pid/PID/g"
}

status() {
	say id
	say whoami
	say groups
	say grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' "/proc/$pid/status"
	say stat -c '%u:%g %A' "/proc/$pid" "/proc/$pid/status"
	say ls -ld --time-style=+ "/proc/$pid"
	ls -ln /proc 2>/dev/null | awk -v pid="$pid" '$NF == pid { print "ls", $3, $4 }'
	for user in www-data 0; do
		echo "find $user" "$(find /proc -maxdepth 1 -user "$user" -name "$pid" 2>/dev/null | grep -c .)"
	done
	top -b -n 1 -p "$pid" | tail -n 1 | awk '{ print "top", $2 }'
	say lsof -a -p "$pid" -d cwd -F uL
	fuser -v "/proc/$pid/cwd" 2>&1 | awk -v pid="$pid" '$3 == pid || $2 == pid { print "fuser", $(NF - 3) }'
	busybox ps | awk -v pid="$pid" '$1 == pid { print "busybox ps", $2 }'
	(sleep 1; printf q; sleep 0.1) | TERM=xterm script -qec "stty cols 150 rows 40; exec htop -C -d 5 -p $pid" /dev/null |
		grep -ao www-data | sort -u
	say getpcaps "$pid"
	say cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
	mine=$(ipcmk -M 5000 -p 0640 | tr -dc 0-9)
	users=$(setpriv --reuid=33 --regid=34 --clear-groups ipcmk -Q -p 0604 | tr -dc 0-9)
	ipcs -m -c | awk -v id="$mine" '$1 == id { print "ipcs", $2, $3, $4, $5, $6 }'
	ipcs -q -c | awk -v id="$users" '$1 == id { print "ipcs", $2, $3, $4, $5, $6 }'
	lsipc -q -c -o ID,PERMS,OWNER,CUID,UID,CGID,GID | awk -v id="$users" '$1 == id { $1 = "lsipc"; print }'
	setpriv --reuid=44 --regid=34 --clear-groups ipcrm -q "$users" 2>&1 | sed "s/$users/ID/"
	setpriv --reuid=33 --regid=33 --clear-groups ipcrm -q "$users"
	ipcrm -m "$mine" && echo removed
}

read_() {
	say ps -o user=,ruser=,euser=,suser=,fuser= -p "$pid"
	say ps -o group=,rgroup=,egroup=,sgroup=,fgroup=,supgrp= -p "$pid"
	say ps -o uid=,ruid=,gid=,rgid= -p "$pid"
	ps aux | awk -v pid="$pid" '$2 == pid { print "ps aux", $1 }'
	ps -ef | awk -v pid="$pid" '$2 == pid { print "ps -ef", $1 }'
	for option in "-u 33" "-U www-data" "-G 34" "-u root" "-G root"; do
		# shellcheck disable=SC2086
		echo "pgrep $option" "$(pgrep $option sleep | grep -cx "$pid")"
	done
	say awk '/^(Uid|Gid|Groups):/' "/proc/$pid/status"
	awk '{ print "map", $1, $2, $3 }' /proc/self/uid_map
	sed -n '/^Groups/p;/^NoNewPrivs/p' "/proc/$pid/status"
	busybox grep ^Uid "/proc/$pid/status"
	echo skill "$(skill -n -u www-data -c sleep | grep -cx "$pid")"
	pidof sleep | tr ' ' '\n' | grep -cx "$pid"
	w -h >/dev/null && who >/dev/null && echo w who
	pkill -u root -P $$ sleep || echo "pkill: no such process"
	pkill -u www-data -P $$ sleep && echo "pkill: killed"
	while [ -d "/proc/$pid" ] && ! grep -qs '^State:.Z' "/proc/$pid/status"; do sleep 0.01; done
}

case $1 in
status) status ;;
read) read_ ;;
esac
kill "$pid" 2>/dev/null
exit 0
