#!/usr/bin/env bash
# stop.sh FOLDER: ends the SLURM that start.sh began in FOLDER, and its jobs.
folder=$(cd "$1" && pwd) || exit 1
export SLURM_CONF=$folder/slurm.conf
timeout 10 scancel --user="$(id -un)" 2> /dev/null
for _ in $(seq 100); do
  if [ -z "$(timeout 10 squeue -h 2> /dev/null)" ]; then break; fi
  sleep 0.1
done
for daemon in n1 n2 g1 slurmctld slurmdbd mariadbd munged; do
  if [ -s "$folder/$daemon.pid" ]; then
    pid=$(cat "$folder/$daemon.pid")
    kill "$pid" 2> /dev/null
    timeout 20 tail --pid="$pid" -f /dev/null
  fi
done
if [ "$(readlink /etc/slurm/slurm.conf)" = "$folder/slurm.conf" ]; then rm /etc/slurm/slurm.conf; fi
exit 0
