# SPDX-License-Identifier: GPL-2.0-or-later
# What: mandb works as man, its cache is man's, and pages are shown, to users too
# Packages: man-db groff-base

rm -f /etc/dpkg/dpkg.cfg.d/*
mkdir -p /usr/share/man/man7
printf '.TH BOX 7\n.SH NAME\nbox \\- a box\n.SH DESCRIPTION\nA page.\n' >/usr/share/man/man7/box.7
mandb -q
owners /var/cache/man /var/cache/man/index.db /var/cache/man/CACHEDIR.TAG
man -P cat box | grep -E 'box|page'
a_user alice 1500
runuser -u alice -- man -P cat box | grep -E 'box|page'
whatis box
runuser -u alice -- whatis box
find /var/cache/man ! -user man
