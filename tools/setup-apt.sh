#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Install the Debian packages that `make demo` or `make test` needs and that are not there yet. Needs root then.
set -eu

# gcc and python3-dev are for the compiled half of remainroot.
common="python3 python3-venv python3-dev gcc libc6-dev libseccomp2 util-linux mmdebstrap"
case "${1-}" in
demo) wanted=$common ;;
test)
	wanted="$common bubblewrap podman runc make procps lsof iproute2 strace attr acl libcap2-bin busybox-static"
	# What the tests of packaging and of stores run.
	wanted="$wanted fakeroot dpkg-dev debhelper rpm squashfs-tools libarchive-tools cpio rsync zip unzip git e2fsprogs"
	wanted="$wanted umoci fuse-overlayfs gosu devscripts debootstrap gdb htop zsh zstd ncurses-bin uidmap"
	;;
*)
	echo "usage: $0 demo|test" >&2
	exit 2
	;;
esac
if [ "$1" = test ] && [ "$(dpkg --print-architecture)" = amd64 ]; then
	wanted="$wanted libc6-dev-i386 gcc-multilib" # 32-bit programs
fi

missing=
for package in $wanted; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "these Debian packages are needed, and only root can install them:$missing" >&2
	exit 1
fi
echo "== apt-get install$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=600 update ||
	echo "apt-get update failed for some source; going on with what there is" >&2
# shellcheck disable=SC2086
apt-get -qq -y -o DPkg::Lock::Timeout=600 --no-install-recommends install $missing >/dev/null
