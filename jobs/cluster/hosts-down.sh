#!/usr/bin/env bash
# Ends every process on the hosts that hosts-up.sh made, and removes the hosts.
# HOSTS_DIR is the folder of their state, as there. Without hosts it does nothing.
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
dir=${HOSTS_DIR:-/tmp/sobaya-hosts}
if [[ ! -f $dir/prefix ]]; then
    say "there are no hosts in $dir"
    exit 0
fi
prefix=$(< "$dir/prefix")

hosts=()
while read -r name _; do
    [[ $name != "$prefix-"* ]] || hosts+=("$name")
done < <(ip netns list)

# Until none is left: some may start others while they are being ended.
for ((tries = 0; tries < 100; tries++)); do
    processes=()
    for name in ${hosts[@]+"${hosts[@]}"}; do
        mapfile -t -O "${#processes[@]}" processes < <(ip netns pids "$name")
    done
    ((${#processes[@]} > 0)) || break
    kill -KILL "${processes[@]}" 2> /dev/null || true
    sleep 0.05
done
for name in ${hosts[@]+"${hosts[@]}"}; do ip netns del "$name"; done
rm -rf -- "$dir"
say "the hosts are removed"
