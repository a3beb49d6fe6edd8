# SPDX-License-Identifier: GPL-2.0-or-later
# What: a Kerberos realm is made; users get tickets, in files and keyrings that are theirs alone, and kadmin knows root
# Packages: krb5-kdc krb5-admin-server krb5-user procps

a_user alice 1500
hostname localhost
printf '[libdefaults]\ndefault_realm = BOX\ndns_lookup_kdc = false\ndns_lookup_realm = false\ndns_canonicalize_hostname = false\nrdns = false\n[realms]\nBOX = {\n kdc = 127.0.0.1\n admin_server = 127.0.0.1\n}\n[domain_realm]\nlocalhost = BOX\n' >/etc/krb5.conf
printf '[kdcdefaults]\n[realms]\nBOX = {\n database_name = /var/lib/krb5kdc/principal\n acl_file = /etc/krb5kdc/kadm5.acl\n key_stash_file = /etc/krb5kdc/stash\n supported_enctypes = aes256-cts:normal\n}\n' >/etc/krb5kdc/kdc.conf
kdb5_util create -s -r BOX -P master >&2
echo 'root/admin@BOX *' >/etc/krb5kdc/kadm5.acl
kadmin.local -q 'addprinc -pw secret alice' >&2
kadmin.local -q 'addprinc -pw admin root/admin' >&2
kadmin.local -q 'addprinc -randkey host/localhost' >&2
kadmin.local -q 'ktadd host/localhost' >&2
service krb5-kdc start >&2
service krb5-admin-server start >&2
eventually sh -c 'echo secret | runuser -u alice -- kinit alice'
runuser -u alice -- klist | sed -n 's/^\(Ticket cache\|Default principal\)/\1/p; s/.*krbtgt/krbtgt/p'
runuser -u alice -- sh -c 'echo secret | kinit -c KEYRING:persistent:1500 alice >&2 && klist -c KEYRING:persistent:1500' | grep -E '^(Ticket|Default)' || echo refused
runuser -u games -- klist -c KEYRING:persistent:1500 2>&1 | sed 's/:1500.*//' || echo refused
eventually kadmin -p root/admin -w admin -q listprincs
kadmin -p root/admin -w admin -q listprincs 2>/dev/null | grep -v admin | sort
owners /tmp/krb5cc_1500 /etc/krb5.keytab /var/lib/krb5kdc /var/lib/krb5kdc/principal /etc/krb5kdc/stash
processes krb5kdc kadmind
service krb5-kdc stop >&2
service krb5-admin-server stop >&2
