# SPDX-License-Identifier: GPL-2.0-or-later
# What: a user makes a package of others' files with makepkg, under fakeroot; pacman installs and removes it
# Packages: pacman-package-manager makepkg libarchive-tools fakeroot zstd busybox-static

a_user alice 1500
install -d -o alice -g alice /home/alice/box
cat >/home/alice/box/PKGBUILD <<'END'
pkgname=box
pkgver=1
pkgrel=1
arch=(any)
options=(!strip !debug)
install=box.install
package() {
	install -D -m 4755 -g games /dev/null "$pkgdir/usr/bin/box"
	install -d -m 2770 -o games -g mail "$pkgdir/var/spool/box"
	install -m 600 -o www-data -g www-data /dev/null "$pkgdir/var/spool/box/file"
	id -u >"$pkgdir/var/spool/box/builder"
}
END
cat >/home/alice/box/box.install <<'END'
post_install() {
	echo post; id -un; chown 1:2 /var/spool/box/builder; stat -c '%u:%g %a' /var/spool/box /var/spool/box/builder
}
END
runuser -u alice -- sh -c 'cd /home/alice/box && PKGEXT=.pkg.tar.zst makepkg --nodeps --nocheck' >&2
package=$(ls /home/alice/box/*.pkg.tar.zst)
owners "$package"
bsdtar -tvf "$package" | awk '{print $1, $3, $4, $NF}' | grep -v '\.MTREE\|\.BUILDINFO'
root=/srv/pacman
mkdir -p $root/bin $root/etc $root/var/lib/pacman $root/tmp
cp /bin/busybox $root/bin/busybox
for name in sh bash id stat chown; do
	ln -s busybox $root/bin/$name
done
cp /etc/passwd /etc/group $root/etc
printf '[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n' >/tmp/pacman.conf
pacman --config /tmp/pacman.conf --root $root --noconfirm -U "$package" 2>&1 | grep -v warning
(cd $root; owners usr/bin/box var/spool/box var/spool/box/*)
pacman --config /tmp/pacman.conf --root $root -Qkk box 2>&1 | grep -v 'warning: box: /tmp'
pacman --config /tmp/pacman.conf --root $root --noconfirm -R box >&2
test ! -e $root/usr/bin/box
