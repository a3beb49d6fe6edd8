# SPDX-License-Identifier: GPL-2.0-or-later
# What: dovecot's processes are dovenull, dovecot and the user who has logged in, and show the user's mail
# Packages: dovecot-imapd curl procps

a_user alice 1500
echo alice:secret | chpasswd
install -d -o alice -g alice -m 700 /home/alice/mail
printf 'mail_location = mbox:~/mail:INBOX=~/mbox\nprotocols = imap\nssl = no\ndisable_plaintext_auth = no\nlisten = 127.0.0.1\nlog_path = /var/log/dovecot.log\n' \
	>/etc/dovecot/local.conf
printf 'From games Thu Jan  1 00:00:00 1970\nSubject: one\n\nfirst\n\n' >/home/alice/mbox
chown alice:alice /home/alice/mbox
chmod 600 /home/alice/mbox
service dovecot start
eventually curl -fs -u alice:secret imap://127.0.0.1/
curl -s -u alice:secret 'imap://127.0.0.1/INBOX;MAILINDEX=1' | tr -d '\r' | grep -E 'Subject|first'
curl -s -u alice:wrong imap://127.0.0.1/ || echo refused
printf 'Subject: two\r\n\r\nsecond\r\n' | curl -s -u alice:secret -T - imap://127.0.0.1/new || curl -s -u alice:secret -X 'CREATE new' imap://127.0.0.1/
processes anvil log config | sed 's/ *[0-9]* //'
owners /home/alice/mail/* /home/alice/mbox /run/dovecot/login /run/dovecot/auth-userdb
service dovecot stop
