#!/usr/bin/env bash
# rsh-agent.sh [OPTIONS] HOST COMMAND LINE   stands in for ssh where mpirun starts its daemons.
set -uo pipefail
while [[ ${1-} == -* ]]; do shift; done
host=$1
shift
"$(dirname -- "${BASH_SOURCE[0]}")/host-exec.sh" "$host" bash -c "$*"
code=$?
# Like ssh, it does not learn of the end of a daemon whose host is cut off.
while [[ -e ${HOSTS_DIR:-/tmp/sobaya-hosts}/$host.cut ]] && kill -0 "$PPID" 2> /dev/null && [[ $PPID != 1 ]]; do
    sleep 0.5
done
exit "$code"
