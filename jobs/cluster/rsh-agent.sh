#!/usr/bin/env bash
# rsh-agent.sh [OPTIONS] HOST COMMAND LINE   stands in for ssh where mpirun starts its daemons.
set -euo pipefail
while [[ ${1-} == -* ]]; do shift; done
host=$1
shift
exec "$(dirname -- "${BASH_SOURCE[0]}")/host-exec.sh" "$host" bash -c "$*"
