# SPDX-License-Identifier: GPL-2.0-or-later
# What: uservd learns by its socket who calls userv, set-user-id, and runs the services of another user as that user
# Packages: userv procps

a_user alice 1500
a_user bob 1591
usermod -aG games alice
mkdir -p /home/alice/.userv
printf '#!/bin/sh\nid\necho "for $USERV_USER $USERV_UID, of $USERV_GROUP, in $PWD: $*"\n: >/tmp/made\ncat\nid >&3\n' >/home/alice/whoami
chmod 755 /home/alice/whoami
cat >/home/alice/.userv/rc <<'RC'
if glob service whoami
	reset
	execute ./whoami
	require-fd 3 write
	no-suppress-args
fi
if glob service private
	reset
	if glob calling-user bob
		reject
	else
		execute id -un
	fi
fi
RC
chown -R alice: /home/alice/.userv
mkdir -p /run/userv
uservd -daemon
eventually pgrep uservd
processes uservd
as() { who=$1; shift; runuser -u "$who" -- "$@" 2>&1; }
cd /tmp
echo input | as bob userv --file 3=/tmp/three alice whoami one 'two words'
cat /tmp/three
as bob userv alice private || echo "status $?"
as games userv alice private || echo "status $?"
userv alice private
as alice userv root whoami || echo "status $?"
as bob userv --override 'execute id' alice whoami || echo "status $?"
userv --override 'execute sh -c "id -u; umask"' alice whoami
owners /usr/bin/userv /tmp/made /tmp/three /run/userv/* | sort
pkill uservd
