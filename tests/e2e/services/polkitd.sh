# What: polkitd is polkitd, and says yes to root and no to a user; pkexec by its set-user-id bit
# Packages: polkitd pkexec dbus procps

service dbus start
/usr/lib/polkit-1/polkitd --no-debug &
polkitd=$!
eventually pkcheck --action-id org.freedesktop.policykit.exec --process $$
echo root $?
a_user alice
runuser -u alice -- sh -c 'pkcheck --action-id org.freedesktop.policykit.exec --process $$' 2>&1 || echo refused $?
pkexec id
pkexec --user alice id
runuser -u alice -- pkexec id 2>&1 | grep -io 'not authorized' | head -n 1
processes polkitd
kill $polkitd
service dbus stop
