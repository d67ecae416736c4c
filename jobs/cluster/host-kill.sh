#!/usr/bin/env bash
# host-kill.sh HOST   powers off a host that hosts-up.sh made: no last word of its connections gets out.
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
(($# == 1)) || fail 2 "give a host"
"$root/jobs/cluster/host-link.sh" "$1" hole
name=$(< "${HOSTS_DIR:-/tmp/sobaya-hosts}/prefix")-$1
# Until none is left: some may start others while they are being ended.
for ((tries = 0; tries < 100; tries++)); do
    mapfile -t processes < <(ip netns pids "$name")
    ((${#processes[@]} > 0)) || exit 0
    kill -KILL "${processes[@]}" 2> /dev/null || true
    sleep 0.05
done
fail 1 "processes of $1 are left: ${processes[*]}"
