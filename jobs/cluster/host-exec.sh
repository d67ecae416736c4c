#!/usr/bin/env bash
# host-exec.sh HOST COMMAND...   runs a command on a host that hosts-up.sh made, in this folder.
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
(($# >= 2)) || fail 2 "give a host and a command"
host=$1
shift
# 255 is what ssh says of a host that cannot be reached.
if ! process=$(cat -- "${HOSTS_DIR:-/tmp/sobaya-hosts}/$host.pid" 2> /dev/null) ||
    ! kill -0 "$process" 2> /dev/null; then
    fail 255 "there is no host $host"
fi
exec nsenter --target "$process" --net --uts --ipc --mount --wd="$PWD" -- "$@"
