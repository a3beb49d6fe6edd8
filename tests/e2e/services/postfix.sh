# SPDX-License-Identifier: GPL-2.0-or-later
# What: postfix's daemons are postfix, and deliver local mail as its owner
# Packages: postfix procps

a_user alice 1500
postconf -e 'inet_interfaces = loopback-only' 'mydestination = localhost, box' 'myhostname = box' \
	'alias_maps =' 'maillog_file = /var/log/mail.log' 'smtputf8_enable = no'
service postfix start
printf 'Subject: one\n\nfirst\n' | sendmail alice@localhost
runuser -u games -- sh -c 'printf "Subject: two\n\nsecond\n" | sendmail alice@localhost'
eventually sh -c 'test "$(grep -c ^Subject: /var/mail/alice)" = 2'
grep -E '^(Subject:|first|second)' /var/mail/alice | sort
owners /var/mail/alice /var/spool/postfix/active /var/spool/postfix/maildrop /var/spool/postfix/public/pickup
processes master qmgr pickup
mailq
postfix check
service postfix stop
