#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Show the main job: apt-get install where one uid and one gid are mapped, without and with remainroot.
# Everything happens in one directory that is removed at the end; what the root is made of stays in a cache.
set -eu

clone=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-/usr/bin/python3}
suite=${REMAINROOT_SUITE:-bookworm}
mirror=${REMAINROOT_MIRROR:-}
cache=${REMAINROOT_CACHE:-/var/cache/remainroot-tests}
packages="hello cron man-db openssh-client"
user=12345 # any uid will do: no passwd entry, no subordinate ids

if [ "$(id -u)" != 0 ]; then
	echo "make demo wants root, to build a Debian root and then to become an unprivileged user" >&2
	exit 1
fi

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
step=0
say() {
	step=$((step + 1))
	printf '\n%s== %d. %s%s\n' "$bold" "$step" "$*" "$plain"
}
die() {
	printf '\n%sdemo failed: %s%s\n' "$bold" "$*" "$plain" >&2
	exit 1
}

top=$(mktemp -d -t remainroot-demo.XXXXXX)
trap 'rm -rf "$top"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$top"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

as_user() { setpriv --reuid=$user --regid=$user --clear-groups -- "$@"; }

# tar_of IMAGE: its file in the cache.
tar_of() { echo "$cache/root-$suite-$(dpkg --print-architecture)-$1.tar"; }

# build IMAGE [PACKAGE]: a small Debian root in the cache.
build() {
	tar=$(tar_of "$1")
	if [ -e "$tar" ]; then
		echo "already in the cache: $tar"
		return
	fi
	mkdir -p "$cache"
	chmod 755 "$cache"
	mmdebstrap --quiet --variant=minbase --mode=root --format=tar --skip=output/dev \
		--aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
		${2:+--include="$2"} "$suite" "$tar.part" ${mirror:+"$mirror"}
	chmod 644 "$tar.part"
	mv "$tar.part" "$tar"
	ls -sh "$tar"
}

# unpack IMAGE: the root in $top/IMAGE, as the unprivileged user would have it.
unpack() {
	mkdir "$top/$1"
	chown $user:$user "$top/$1"
	as_user tar --no-same-owner -xpf "$(tar_of "$1")" -C "$top/$1"
	cp /etc/resolv.conf "$top/$1/etc/resolv.conf"
}

# enter IMAGE CMD...: become the unprivileged user, make a user namespace that maps only this one user (to 0), mount
# what a root needs, and run CMD with $root set. Not in the root yet: CMD does the chroot.
enter() {
	image=$1
	shift
	# shellcheck disable=SC2016
	as_user unshare --user --map-root-user --mount --pid --fork --kill-child -- sh -euc '
		export root="$1"
		shift
		mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run"
		mount -t proc proc /proc
		mount -t proc proc "$root/proc"
		mount --rbind /sys "$root/sys"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs -o mode=755 tmpfs "$root/run"
		exec "$@"' enter "$top/$image" "$@"
}

say "Install remainroot from this clone, with pip, into a virtual environment that every user can read"
"$python" -m venv "$top/venv"
mkdir "$top/source" # a copy: building leaves files beside the source
tar -C "$clone" --exclude=./.git --exclude=./.venv --exclude=./build --exclude='*.so' -cf - . | tar -C "$top/source" -xf -
"$top/venv/bin/pip" install --quiet --disable-pip-version-check "$top/source"
remainroot=$top/venv/bin/remainroot
"$remainroot" --version

say "Build a minimal Debian root ($suite) with mmdebstrap"
build minimal
unpack minimal

say "Enter it as uid $user, with one uid and one gid mapped and setgroups denied"
# shellcheck disable=SC2016
enter minimal sh -c 'for file in uid_map gid_map setgroups; do
	printf "%-10s %s\n" "$file" "$(cat /proc/self/$file)"; done; id'

say "What happens without remainroot"
# shellcheck disable=SC2016
if enter minimal sh -c 'set -x; chroot "$root" apt-get update; chroot "$root" apt-get install -y hello' 2>&1; then
	die "apt-get succeeded without help: this is not a single-mapping user namespace"
fi
echo "-> it fails: apt cannot become its sandbox user, nor give a file to it"

say "With remainroot outside the root (which has no Python): remainroot -- chroot ROOT apt-get ..."
echo "+ remainroot -- chroot ROOT apt-get update"
# shellcheck disable=SC2016
enter minimal sh -c '"$1" -- chroot "$root" apt-get update' - "$remainroot" || die "apt-get update"
echo "+ remainroot -- chroot ROOT apt-get install -y $packages"
# shellcheck disable=SC2016,SC2086
enter minimal sh -c 'shim=$1; shift; "$shim" -- chroot "$root" apt-get install -y --no-install-recommends "$@"' \
	- "$remainroot" $packages || die "apt-get install"
echo "+ remainroot -- chroot ROOT hello"
# shellcheck disable=SC2016
enter minimal sh -c '"$1" -- chroot "$root" hello' - "$remainroot" || die "hello"

say "With remainroot box: a container of the root's tar file itself, with nothing made for it before"
echo "+ remainroot box --tmpfs /run ROOT.tar -- sh -c 'apt-get update && apt-get install -y $packages && hello'"
# shellcheck disable=SC2016,SC2086
as_user "$remainroot" box --env DEBIAN_FRONTEND --env LC_ALL --tmpfs /run "$(tar_of minimal)" -- sh -euc '
		apt-get update
		apt-get install -y --no-install-recommends "$@"
		hello
		stat -c "%U:%G %a %n" /usr/bin/ssh-agent /var/spool/cron/crontabs /var/cache/man' - $packages ||
	die "apt-get in a box"

say "Build a Debian root that has Python"
build python python3
unpack python

say "With remainroot inside: pip installs it into the image, and CMD needs no chroot"
as_user mkdir -p "$top/python/opt/remainroot"
"$top/venv/bin/pip" install --quiet --disable-pip-version-check --target "$top/lib" "$top/source"
chmod -R go+rX "$top/lib"
as_user cp -r "$top/lib/." "$top/python/opt/remainroot/"
echo "+ python3 -m remainroot -- sh -c 'apt-get update && apt-get install -y $packages && hello'"
# shellcheck disable=SC2016
enter python sh -c 'exec env PYTHONPATH=/opt/remainroot chroot "$root" python3 -m remainroot -- sh -euc "
		apt-get update
		apt-get install -y --no-install-recommends $1
		hello
		stat -c \"%U:%G %a %n\" /usr/bin/ssh-agent /var/spool/cron/crontabs /var/cache/man"' - "$packages" ||
	die "apt-get inside the image"

say "Done: all installs succeeded, with apt's own sandbox on, for a user who is nobody on this machine"
