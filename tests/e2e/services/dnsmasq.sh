# SPDX-License-Identifier: GPL-2.0-or-later
# What: dnsmasq is dnsmasq, and answers
# Packages: dnsmasq bind9-dnsutils procps

printf 'address=/www.box/127.0.0.42\nno-resolv\nlisten-address=127.0.0.1\n' >/etc/dnsmasq.d/box
service dnsmasq start
eventually dig +short @127.0.0.1 www.box
dig +short @127.0.0.1 www.box
processes dnsmasq
owners /run/dnsmasq /run/dnsmasq/dnsmasq.pid
service dnsmasq stop
