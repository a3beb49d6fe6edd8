# SPDX-License-Identifier: GPL-2.0-or-later
# What: exim takes mail from the command line and by SMTP, and delivers it as its owner
# Packages: exim4-daemon-light procps

a_user alice 1500
update-exim4.conf
service exim4 start
eventually bash -c 'exec 9<>/dev/tcp/127.0.0.1/25'
printf 'To: alice\nSubject: one\n\nfirst\n' | sendmail -oi alice@localhost
runuser -u games -- sh -c 'printf "To: alice\nSubject: two\n\nsecond\n" | sendmail -oi alice@localhost'
bash -ec '
exec 9<>/dev/tcp/127.0.0.1/25
say() { read -r -u 9 line; echo "${line%% *}"; }
say; for word in "HELO localhost" "MAIL FROM:<games@localhost>" "RCPT TO:<alice@localhost>" DATA \
	"$(printf "Subject: three\r\n\r\nthird\r\n.")" QUIT; do printf "%s\r\n" "$word" >&9; say; done'
eventually sh -c 'test "$(grep -c ^Subject: /var/mail/alice)" = 3'
grep -E '^(Subject:|first|second|third)' /var/mail/alice | sort
grep -o '^From [^ ]*' /var/mail/alice | sort
owners /var/mail/alice /var/spool/exim4 /var/spool/exim4/input /var/log/exim4/mainlog
processes exim4
mailq
service exim4 stop
