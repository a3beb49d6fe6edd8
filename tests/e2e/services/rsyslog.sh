# SPDX-License-Identifier: GPL-2.0-or-later
# What: rsyslog takes messages from /dev/log, knows who sent them, and gives its files to adm
# Packages: rsyslog procps

cat >/etc/rsyslog.conf <<'END'
module(load="imuxsock" SysSock.Annotate="on" SysSock.ParseTrusted="on")
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
$template who,"%$!uid% %$!gid% %syslogtag% %msg%\n"
*.* /var/log/who;who
*.* /var/log/messages
END
rsyslogd
eventually test -S /dev/log
logger -t one first
runuser -u games -- logger -t two second
eventually grep -q second /var/log/who
grep -E 'first|second' /var/log/who
owners /var/log/who /var/log/messages /dev/log
processes rsyslogd
kill "$(cat /run/rsyslogd.pid)"
