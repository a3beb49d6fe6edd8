# SPDX-License-Identifier: GPL-2.0-or-later
# What: schroot, set-user-id, lets users of its list into a chroot as themselves, or as root, and others not
# Packages: schroot busybox-static procps

a_user alice 1500
a_user bob 1591
mkdir -p /srv/jail/bin /srv/jail/etc /srv/jail/tmp /srv/jail/root /srv/jail/home/alice /srv/jail/proc /srv/jail/dev /srv/jail/sys
cp /bin/busybox /srv/jail/bin/
for name in sh id ls touch stat chown cat true; do ln -s busybox /srv/jail/bin/$name; done
chmod 1777 /srv/jail/tmp
printf '[jail]\ntype=directory\ndirectory=/srv/jail\nusers=alice\nroot-users=alice\nprofile=minimal\nshell=/bin/sh\n[plain]\ntype=plain\ndirectory=/srv/jail\nusers=alice\ngroups=games\n' 	>/etc/schroot/chroot.d/jail
schroot -l
as() { who=$1; shift; runuser -u "$who" -- schroot -d /tmp "$@" 2>&1; }
as alice -c jail -- /bin/id
as alice -c jail -u root -- /bin/id
as alice -c jail -- /bin/touch by-alice
as alice -c jail -u root -- /bin/sh -c 'touch by-root; chown 42:43 by-root'
as alice -c plain -- /bin/sh -c 'id; ls -ln /tmp/by-alice | cut -d " " -f 1'
as bob -c jail -- /bin/id >/dev/null </dev/null || echo refused
as alice -c plain -u root -- /bin/id </dev/null >/dev/null || echo refused
session=$(as alice -c jail -b -n session)
as alice -r -c "$session" -- /bin/sh -c 'id -un; stat -c "%u:%g %n" by-alice by-root'
ls /var/lib/schroot/session
as alice -e -c "$session"
ls /var/lib/schroot/session
stat -c '%u:%g %a %n' /srv/jail/tmp/* /usr/bin/schroot /var/lib/schroot/session
