#!/usr/bin/env bash
# host-link.sh HOST down|hole|up   what becomes of the link of a host that hosts-up.sh made.
#   down   the cable is pulled: the host sees that its carrier is lost
#   hole   the switch loses everything, and nobody is told
#   up     both are undone
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
dir=${HOSTS_DIR:-/tmp/sobaya-hosts}
[[ $# == 2 && $1 =~ ^h[0-9]+$ ]] || fail 2 "give a host and one of down, hole and up"
[[ -f $dir/$1.pid ]] || fail 2 "there is no host $1 in $dir"
switch=$(< "$dir/prefix")-switch port=port${1#h}
case $2 in
    down)
        touch "$dir/$1.cut"
        ip -n "$switch" link set "$port" down
        ;;
    hole)
        touch "$dir/$1.cut"
        bridge -n "$switch" link set dev "$port" state 0
        ;;
    up)
        rm -f -- "$dir/$1.cut"
        ip -n "$switch" link set "$port" up
        bridge -n "$switch" link set dev "$port" state 3
        ;;
    *) fail 2 "the link can be down, hole or up, not '$2'" ;;
esac
