# SPDX-License-Identifier: GPL-2.0-or-later
# What: PostgreSQL is its own user, lets in whom the kernel says is calling, and finds its data again in a new run
# Packages: postgresql procps

service postgresql start
su postgres -c "psql -Atc 'select count(*) from pg_database; select current_user'"
su postgres -c "psql -Atc 'create table t as select generate_series(1, 100) n; select sum(n) from t'"
a_user alice 1500
su postgres -c 'createuser alice; createdb -O alice alice'
runuser -u alice -- psql -Atc 'create table mine as select 42 n; select current_user, n from mine'
runuser -u alice -- psql -U postgres -Atc 'select current_user' 2>&1 | grep -o 'Peer authentication failed.*'
psql -Atc 'select current_user' 2>&1 | grep -o 'role "root".*'
data=$(pg_lsclusters -h | awk '{print $6}')
owners /run/postgresql/.s.PGSQL.5432 | sed 's/PGSQL.*/PGSQL/'
stat -c '%U:%G %a' "$data" "$data/postmaster.pid" /var/lib/postgresql
server=$(head -n 1 "$data/postmaster.pid")
stat -c %U "/proc/$server"
id -nu "$(grep ^Uid: "/proc/$server/status" | cut -f 2)"
processes postgres | sed 's/ *[0-9]* //'
pg_ctlcluster "$(pg_lsclusters -h | awk '{print $1}')" main restart
su postgres -c "psql -Atc 'select sum(n) from t'"
service postgresql stop

### a new run

service postgresql start
su postgres -c "psql -Atc 'select sum(n) from t'"
runuser -u alice -- psql -Atc 'insert into mine values (43); select current_user, sum(n) from mine'
data=$(pg_lsclusters -h | awk '{print $6}')
find /var/lib/postgresql ! -user postgres | wc -l
stat -c '%U:%G %a' "$data" /var/log/postgresql/*.log /etc/shadow /home/alice
service postgresql stop
