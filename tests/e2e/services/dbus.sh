# SPDX-License-Identifier: GPL-2.0-or-later
# What: the system bus is messagebus, and knows its clients by what the kernel says
# Packages: dbus procps

service dbus start
ask() {
	dbus-send --system --dest=org.freedesktop.DBus --type=method_call --print-reply=literal /org/freedesktop/DBus \
		"org.freedesktop.DBus.$1" string:org.freedesktop.DBus | sed 's/ *//; s/\(ProcessID *variant *uint32\) .*/\1/'
}
eventually ask GetConnectionUnixUser
ask GetConnectionUnixUser | sed 's/.* //' | xargs id -nu
ask GetConnectionCredentials | grep UnixUserID | sed 's/.* //' | xargs id -nu
processes dbus-daemon
owners /run/dbus/system_bus_socket
# Only root and the bus's own user may own this name.
printf '%s\n' '<busconfig><policy user="www-data"><allow own="org.example.Box"/></policy></busconfig>' \
	>/etc/dbus-1/system.d/box.conf
dbus-send --system --dest=org.freedesktop.DBus --print-reply=literal / org.freedesktop.DBus.ReloadConfig
own() {
	dbus-send --system --dest=org.freedesktop.DBus --print-reply=literal / org.freedesktop.DBus.RequestName \
		string:org.example.Box uint32:0 2>&1 | sed 's/:1\.[0-9]*/:1.N/'
}
own
runuser -u www-data -- sh -c "$(cat <<-'END'
	dbus-send --system --dest=org.freedesktop.DBus --print-reply=literal / org.freedesktop.DBus.RequestName \
		string:org.example.Box uint32:0
END
)"
service dbus stop
