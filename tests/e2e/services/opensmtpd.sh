# SPDX-License-Identifier: GPL-2.0-or-later
# What: OpenSMTPD's processes are its two users, in chroots, pass descriptors, and deliver users' mail as the users
# Packages: opensmtpd procps

a_user alice 1500
printf 'table aliases file:/etc/aliases\nlisten on lo\naction "local" mbox alias <aliases>\naction "files" maildir "%%{user.directory}/Maildir"\nmatch for domain "box.test" action "files"\nmatch for local action "local"\n' >/etc/smtpd.conf
echo 'root: alice' >/etc/aliases
printf '#!/bin/sh\nid >/tmp/by-forward\ncat >>/tmp/by-forward\n' >/usr/local/bin/take
chmod 755 /usr/local/bin/take
smtpd -n 2>&1
service opensmtpd start >&2
eventually smtpctl show stats
printf 'Subject: one\n\nfirst\n' | sendmail alice
runuser -u games -- sh -c 'printf "Subject: two\n\nsecond\n" | sendmail root'
eventually sh -c 'test "$(grep -c ^Subject: /var/mail/alice)" = 2'
printf 'Subject: three\n\nthird\n' | sendmail alice@box.test
eventually test -d /home/alice/Maildir/new
eventually sh -c 'grep -r third /home/alice/Maildir/new'
a_user bob 1591
echo '|/usr/local/bin/take' >/home/bob/.forward
chown bob:bob /home/bob/.forward
runuser -u alice -- sh -c 'printf "Subject: four\n\nfourth\n" | sendmail bob'
eventually grep -s fourth /tmp/by-forward
grep -E '^(uid|Subject|fourth)' /tmp/by-forward
grep -E '^(From [^ ]*|Subject|first|second)' -o /var/mail/alice | sort
owners /var/mail/alice /home/alice/Maildir /home/alice/Maildir/new /tmp/by-forward /var/spool/smtpd /var/spool/smtpd/* /run/smtpd.sock
stat -c '%U:%G %a' /home/alice/Maildir/new/*
runuser -u games -- smtpctl show queue 2>&1 || echo refused
smtpctl show queue
processes smtpd
for pid in $(pgrep -x smtpd); do stat -c %N "/proc/$pid/root"; done | sed 's/.*-> //' | sort | uniq -c
service opensmtpd stop >&2
