# SPDX-License-Identifier: GPL-2.0-or-later
# What: polkitd, started by the bus, is polkitd, and says yes to root and no to a user; pkexec has a set-user-id bit
# Packages: polkitd pkexec dbus procps

service dbus start
eventually pkcheck --action-id org.freedesktop.policykit.exec --process $$
echo root $?
a_user alice 1500
runuser -u alice -- sh -c 'pkcheck --action-id org.freedesktop.policykit.exec --process $$' 2>&1 || echo refused $?
pkexec id
pkexec --user alice id
runuser -u alice -- pkexec id 2>&1 || echo refused $?
processes polkitd
pkill -x polkitd
service dbus stop
