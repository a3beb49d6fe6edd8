# SPDX-License-Identifier: GPL-2.0-or-later
# What: spamd judges each user's mail as that user, makes the user's files as the user's, and root's as nobody
# Packages: spamd spamc procps

a_user alice 1500
spamd -d -c -L -m 2 -r /run/spamd.pid -i 127.0.0.1 -s /var/log/spamd.log
printf 'From: a@box\nTo: alice@box\nSubject: one\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-Id: <1@box>\n\nfirst\n' >/tmp/mail
chmod 644 /tmp/mail
eventually spamc -x -K
runuser -u alice -- spamc -x </tmp/mail | grep -c ^X-Spam-Checker
spamc -x -u games </tmp/mail | grep -c ^X-Spam-Checker
spamc -x -u root </tmp/mail | grep -c ^X-Spam-Checker
grep -oE 'processing message .* for .*' /var/log/spamd.log
find /home/alice/.spamassassin -printf '%u:%g %m %f\n' | sort
processes spamd 'spamd child' | sed 's|^ *[0-9]* ||'
kill "$(cat /run/spamd.pid)"
