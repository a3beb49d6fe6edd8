# SPDX-License-Identifier: GPL-2.0-or-later
# What: vsftpd lets a user in, in a chroot, and its files are the user's; anonymous ones are ftp
# Packages: vsftpd curl procps

a_user alice 1500
echo alice:secret | chpasswd
printf 'listen=YES\nlisten_address=127.0.0.1\nanonymous_enable=YES\nlocal_enable=YES\nwrite_enable=YES\nlocal_umask=022\nchroot_local_user=YES\nallow_writeable_chroot=YES\nsecure_chroot_dir=/var/run/vsftpd/empty\npam_service_name=vsftpd\n' \
	>/etc/vsftpd.conf
echo public >/srv/ftp/public
mkdir -p /run/vsftpd/empty
vsftpd /etc/vsftpd.conf &
echo text >/tmp/text
eventually curl -fs ftp://127.0.0.1/public
curl -s ftp://127.0.0.1/public
curl -sS -T /tmp/text -u alice:secret ftp://127.0.0.1/by-ftp
curl -s -u alice:secret ftp://127.0.0.1/by-ftp
curl -sS -T /tmp/text ftp://127.0.0.1/by-anybody || echo refused
curl -s -u alice:wrong ftp://127.0.0.1/ || echo refused
owners /home/alice/by-ftp
processes vsftpd
kill $!
