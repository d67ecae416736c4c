#!/usr/bin/env bash
# mpirun-hosts.sh RANKS COMMAND...   runs a command under Open MPI's mpirun, one rank on each of the
# hosts h0, h1, ... that hosts-up.sh made. mpirun itself runs on h0; messages between hosts go over
# the slow links alone.
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
(($# >= 2)) || fail 2 "give the number of ranks and a command"
ranks=$1
shift
here=$root/jobs/cluster
export HOSTS_DIR=${HOSTS_DIR:-/tmp/sobaya-hosts}
[[ -f $HOSTS_DIR/subnet ]] || fail 2 "there are no hosts in $HOSTS_DIR; make them by jobs/cluster/hosts-up.sh"
subnet=$(< "$HOSTS_DIR/subnet")
printf -v hosts 'h%s:1,' $(seq 0 $((ranks - 1)))

# Inside a Slurm job mpirun would use Slurm's launcher and hosts.
unset "${!SLURM_@}"
# Hosts share cores: ranks that wait give way to others.
export OMPI_MCA_mpi_yield_when_idle=1
exec "$here/host-exec.sh" h0 mpirun -q --host "${hosts%,}" -n "$ranks" --bind-to none \
    --mca plm rsh --mca plm_rsh_agent "$here/rsh-agent.sh" --mca ras '^slurm' \
    --mca orte_tmpdir_base "$HOSTS_DIR/tmp" \
    --mca pml ob1 --mca btl tcp,self \
    --mca btl_tcp_if_include "$subnet" --mca oob_tcp_if_include "$subnet" "$@"
