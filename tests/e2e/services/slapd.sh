# SPDX-License-Identifier: GPL-2.0-or-later
# What: slapd is openldap, and takes root and a user for whom the kernel says they are (ldapi, EXTERNAL)
# Packages: slapd ldap-utils procps

service slapd start
eventually ldapwhoami -Q -Y EXTERNAL -H ldapi:///
ldapwhoami -Q -Y EXTERNAL -H ldapi:///
runuser -u games -- ldapwhoami -Q -Y EXTERNAL -H ldapi:///
ldapsearch -Q -LLL -Y EXTERNAL -H ldapi:/// -b cn=config -s base cn
runuser -u games -- ldapsearch -Q -LLL -Y EXTERNAL -H ldapi:/// -b cn=config -s base cn 2>&1 || echo refused
processes slapd
owners /var/lib/ldap /var/lib/ldap/data.mdb /etc/ldap/slapd.d /run/slapd/ldapi
service slapd stop
