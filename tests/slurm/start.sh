#!/usr/bin/env bash
# start.sh FOLDER [accounting]: a SLURM of three nodes on this machine, all of whose files are in FOLDER (an empty one),
# but for the link /etc/slurm/slurm.conf. stop.sh FOLDER ends it and takes the link away. Needs root and Debian's packages
# slurm-wlm and munge; with accounting slurmdbd and mariadb-server as well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
for configured in /etc/slurm/slurm.conf /etc/slurm-llnl/slurm.conf "${SLURM_CONF:-}"; do
  if [ -e "$configured" ]; then
    echo "start.sh: a SLURM is configured here ($configured), which is left alone" >&2
    exit 3
  fi
done
export PATH=$PATH:/usr/sbin:/sbin

wait_for() { # wait_for SECONDS COMMAND...
  local n=$((10 * $1)); shift
  until "$@" >/dev/null 2>&1; do
    if [ $((n--)) = 0 ]; then echo "start.sh: waited in vain for: $* (logs in $folder)" >&2; exit 1; fi
    sleep 0.1
  done
}
idle() { [ "$(sinfo -h -N -t idle -o %N | sort -u | wc -l)" = 3 ]; }

accounting=AccountingStorageType=accounting_storage/none
if [ "${2:-}" = accounting ]; then
  accounting="AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\nAccountingStoragePort=16819"
  accounting+="\nAccountingStoragePass=$folder/munge.socket\nAccountingStorageTRES=gres/gpu" # with munge, its socket
  accounting+="\nAccountingStorageEnforce=associations\nAccountingStoreFlags=job_comment"
fi
mkdir -p "$folder"/{slurmctld,n1,n2,g1}
for name in slurm.conf gres.conf cgroup.conf slurmdbd.conf; do
  sed "s|@FOLDER@|$folder|; s|@HOST@|$(hostname -s)|; s|@USER@|$(id -un)|; s|@ACCOUNTING@|$accounting|" \
    "$here/$name" > "$folder/$name"
done
chmod 600 "$folder/slurmdbd.conf"

# Not an environment variable: what Snakemake's jobs start loses all that begin with SLURM_.
mkdir -p /etc/slurm
ln -sfn "$folder/slurm.conf" /etc/slurm/slurm.conf
export SLURM_CONF=$folder/slurm.conf # for the daemons, which look for the other files beside it

head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
  --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>> "$folder/munged.log"

if [ "${2:-}" = accounting ]; then
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$folder/mariadb" --auth-root-authentication-method=normal \
    > "$folder/mariadb.log" 2>&1
  mariadbd --no-defaults --user="$(id -un)" --datadir="$folder/mariadb" --socket="$folder/mariadb.socket" \
    --pid-file="$folder/mariadbd.pid" --bind-address=127.0.0.1 --port=16820 >> "$folder/mariadb.log" 2>&1 &
  sql=(mariadb --no-defaults --user=root --socket="$folder/mariadb.socket")
  wait_for 60 "${sql[@]}" -e "select 1"
  "${sql[@]}" -e "create database slurm_acct_db; create user slurm@'%' identified by 'slurm';
    create user slurm@localhost identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@'%'; grant all on slurm_acct_db.* to slurm@localhost"
  slurmdbd
  wait_for 60 sacctmgr -n show cluster
  sacctmgr -i -Q add cluster test
  sacctmgr -i -Q add account lab cluster=test
  sacctmgr -i -Q add user "$(id -un)" account=lab defaultaccount=lab || sacctmgr -i -Q modify user "$(id -un)" set defaultaccount=lab
fi

slurmctld
wait_for 20 scontrol ping
for node in n1 n2 g1; do slurmd -N $node; done
wait_for 20 idle
sinfo -N -o '%N %P %T %c %m %G'
