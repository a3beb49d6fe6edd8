# SPDX-License-Identifier: GPL-2.0-or-later
# What: OpenSSH separates privileges, lets root and a user in by key, and carries files by scp and sftp
# Packages: openssh-server openssh-client openssh-sftp-server procps

a_user alice 1500
for home in /root /home/alice; do
	install -d -m 700 "$home/.ssh"
	ssh-keygen -q -t ed25519 -N '' -f "$home/.ssh/id_ed25519"
	cp "$home/.ssh/id_ed25519.pub" "$home/.ssh/authorized_keys"
	ssh-keyscan 127.0.0.1 >"$home/.ssh/known_hosts" 2>/dev/null || :
done
chown -R alice:alice /home/alice/.ssh
printf 'Host *\n\tStrictHostKeyChecking no\n\tBatchMode yes\n\tLogLevel ERROR\n' >/etc/ssh/ssh_config.d/box.conf
service ssh start
eventually ssh 127.0.0.1 true
ssh root@127.0.0.1 'id; stat -c %U:%G /etc/shadow .'
cat /root/.ssh/id_ed25519.pub >>/home/alice/.ssh/authorized_keys
ssh alice@127.0.0.1 'id; pwd; touch made; stat -c %U:%G made; kill -0 1 2>&1; cat /proc/self/loginuid >/dev/null; ulimit -c 0'
ssh alice@127.0.0.1 'for pid in $(pgrep -x sshd); do stat -c %U "/proc/$pid"; done | sort'
runuser -u alice -- ssh alice@127.0.0.1 'whoami; groups'
ssh -tt alice@127.0.0.1 'stat -c "%U:%G %a" "$(tty)"' | tr -d '\r'
ssh nobody@127.0.0.1 true 2>&1 | grep -o 'Permission denied.*'
echo one >/tmp/one
scp -q /tmp/one alice@127.0.0.1:by-scp
scp -q -O /tmp/one alice@127.0.0.1:by-rcp
scp -q alice@127.0.0.1:by-scp /tmp/back
printf 'put /tmp/one by-sftp\nmkdir dir\nchmod 750 dir\nls -1\n' | sftp -q -b - alice@127.0.0.1
printf 'put /tmp/one /tmp/given\nchown 33 /tmp/given\nchgrp 4 /tmp/given\n' | sftp -q -b - 127.0.0.1
(cd /home/alice; owners by-scp by-rcp by-sftp dir /tmp/back /tmp/given)
sed -i 's/.*PermitRootLogin.*/PermitRootLogin no/' /etc/ssh/sshd_config
service ssh restart
eventually ssh alice@127.0.0.1 true
ssh root@127.0.0.1 id 2>&1 | grep -o 'Permission denied.*'
service ssh stop
