# SPDX-License-Identifier: GPL-2.0-or-later
# What: rpm and dnf install, verify, upgrade and erase a package of others' files, with scripts, in a root of its own
# Packages: rpm dnf createrepo-c busybox-static libcap2-bin

cat >/root/box.spec <<'END'
Name: box
Version: %{number}
Release: 1
Summary: A box
License: MIT
BuildArch: noarch
Provides: /bin/sh
%description
A box.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/var/spool/box
echo %{number} | tee %{buildroot}/usr/bin/box %{buildroot}/usr/bin/pinger %{buildroot}/var/spool/box/file \
	%{buildroot}/etc/box.conf >/dev/null
ln -s box %{buildroot}/usr/bin/link
%pre
echo "pre $1 $(id -un)"
%post
echo "post $1"; stat -c '%u:%g %a' /var/spool/box; touch /var/spool/box/left; chown 1:2 /var/spool/box/left
%preun
rm -f /var/spool/box/left
%files
%attr(4755,root,games) /usr/bin/box
%caps(cap_net_raw=ep) %attr(0755,root,adm) /usr/bin/pinger
/usr/bin/link
%attr(0640,root,shadow) %config(noreplace) /etc/box.conf
%attr(2770,games,mail) %dir /var/spool/box
%attr(0600,www-data,www-data) /var/spool/box/file
END
mkdir -p /srv/repo
for number in 1 2; do
	rpmbuild --quiet -bb -D "number $number" -D '_rpmdir /srv/repo' -D '_rpmfilename box-%{VERSION}.rpm' /root/box.spec
done
rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]' /srv/repo/box-1.rpm
a_root() {
	mkdir -p "$1/bin" "$1/etc" "$1/tmp"
	cp /bin/busybox "$1/bin/busybox"
	for name in sh id stat touch chown rm; do
		ln -s busybox "$1/bin/$name"
	done
	cp /etc/passwd /etc/group "$1/etc"
}
look() {
	(cd "$1"; owners usr/bin/box usr/bin/pinger etc/box.conf var/spool/box var/spool/box/*; getcap usr/bin/pinger)
}

a_root /srv/rpm
rpm --root /srv/rpm --nodeps -i /srv/repo/box-1.rpm
look /srv/rpm
rpm --root /srv/rpm --nodeps -V box
chown www-data /srv/rpm/usr/bin/box
rpm --root /srv/rpm --nodeps -V box || :
rpm --root /srv/rpm --nodeps -U /srv/repo/box-2.rpm
look /srv/rpm
rpm --root /srv/rpm --nodeps -e box
ls /srv/rpm/usr/bin /srv/rpm/var/spool

a_root /srv/dnf
createrepo_c -q /srv/repo
dnf() {
	command dnf -q -y --installroot=/srv/dnf --releasever=1 --setopt=reposdir=/nowhere --nogpgcheck \
		--repofrompath=box,/srv/repo --repo=box "$@" | grep -E '^(pre|post|[0-9]+:)' || :
}
dnf install box-1
look /srv/dnf
dnf upgrade box
look /srv/dnf
rpm --root /srv/dnf --nodeps -V box
dnf remove box
ls /srv/dnf/usr/bin /srv/dnf/var/spool
