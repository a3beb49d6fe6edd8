# SPDX-License-Identifier: GPL-2.0-or-later
# What: chronyd -x is _chrony, and chronyc asks it over its socket
# Packages: chrony procps

printf 'local stratum 10\nallow 127.0.0.1\ndriftfile /var/lib/chrony/drift\n' >/etc/chrony/chrony.conf
chronyd -x
eventually chronyc -n tracking
chronyc -n tracking | grep Stratum
chronyc -n -h 127.0.0.1 activity
processes chronyd
owners /run/chrony /run/chrony/chronyd.sock /var/lib/chrony
chronyc shutdown
