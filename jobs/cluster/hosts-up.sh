#!/usr/bin/env bash
# Makes hosts on this machine that are joined by a slow network; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me HOSTS RATE

Makes HOSTS hosts h0, h1, ... on this machine, each joined to one switch by a
link of RATE in each direction: 10mbit, 100mbit, 1gbit, or as tc writes it.

A host is a set of namespaces for network, host name, mounts and System V IPC:
it has an address, a host name, an /etc/hosts and a /dev/shm of its own, and
shares files, processes and cores with the machine. The links are veth pairs
with a token bucket filter (tbf) at both ends; there is no added delay.

  jobs/cluster/hosts-up.sh 5 100mbit
  jobs/cluster/host-exec.sh h1 ping -c 3 h0
  jobs/cluster/mpirun-hosts.sh 5 PROGRAM       one rank on each of 5 hosts
  jobs/cluster/host-link.sh h1 down|hole|up    cable out; all silently lost; undo
  jobs/cluster/host-kill.sh h1                 power off
  jobs/cluster/slurm-up.sh DIR 4 2 --on-hosts  a Slurm on them (h0 and 4 nodes)
  jobs/cluster/hosts-down.sh                   ends what runs there; removes all

It must be run as root, with the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN
(a plain container has neither), on a Linux kernel with veth, bridge and
sch_tbf, and needs ip, bridge and tc (iproute2), nsenter and unshare
(util-linux). Nothing outside of the new namespaces is changed.

Environment:
  HOSTS_DIR   folder of the hosts' state (default /tmp/sobaya-hosts); several
              sets of hosts may stand side by side in folders of their own

Exit status: 0 up, 1 something failed and nothing is left, 2 wrong arguments,
or a right or program is missing, 3 the folder holds hosts already
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
here=$root/jobs/cluster
case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
esac
(($# == 2)) || fail 2 "give the number of hosts and the rate of a link (see $me --help)"
count=$1 rate=$2
[[ $count =~ ^[1-9][0-9]?$ ]] || fail 2 "HOSTS must be a number from 1 to 99, found '$count'"

# Of each link: what a switch holds back before it drops, and what passes at once.
queue=1mb
frame=1514

bits_a_second() {
    local number=${rate%%[a-z]*} unit=${rate##*[0-9]}
    case $unit in
        kbit) unit=1000 ;;
        mbit) unit=1000000 ;;
        gbit) unit=1000000000 ;;
        *) return 1 ;;
    esac
    [[ $number =~ ^[1-9][0-9]{0,5}$ ]] && printf '%s\n' $((number * unit))
}
bits=$(bits_a_second) ||
    fail 2 "RATE must be a whole number with kbit, mbit or gbit, such as 100mbit, found '$rate'"
# Half a millisecond's worth, and at least ten frames.
burst=$((bits / 16000 > 10 * frame ? bits / 16000 : 10 * frame))

for tool in ip tc nsenter unshare; do
    have "$tool" || fail 2 "$tool is needed and is not on PATH (iproute2, util-linux)"
done
[[ $(id -u) == 0 ]] || fail 2 "must be run as root: it makes network namespaces"

dir=${HOSTS_DIR:-/tmp/sobaya-hosts}
[[ ! -e $dir ]] || fail 3 "$dir holds hosts already; remove them by jobs/cluster/hosts-down.sh"
mkdir -p -- "$dir/tmp"
dir=$(cd -- "$dir" && pwd)
export HOSTS_DIR=$dir
take_down() { "$here/hosts-down.sh" > /dev/null 2>&1 || true; }
trap 'if (($? != 0)); then take_down; fi' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Namespaces have names on the whole machine: the process makes them unlike any other set's.
prefix=sobaya-$$
subnet=10.77.0
printf '%s\n' "$prefix" > "$dir/prefix"
printf '%s\n' "$count" > "$dir/count"
printf '%s\n' "$subnet.0/24" > "$dir/subnet"
{
    echo "127.0.0.1 localhost"
    for ((k = 0; k < count; k++)); do echo "$subnet.$((k + 1)) h$k"; done
} > "$dir/hosts"

add_namespace() { # NAME
    ip netns add "$prefix-$1" ||
        fail 2 "no network namespace can be made: CAP_SYS_ADMIN and CAP_NET_ADMIN are needed"
    ip -n "$prefix-$1" link set lo up
}

shape() { # NAME DEVICE
    ip netns exec "$prefix-$1" \
        tc qdisc add dev "$2" root tbf rate "${bits}bit" burst "$burst" limit "$queue" ||
        fail 2 "the link cannot be shaped: the kernel needs the queueing discipline tbf (sch_tbf)"
}

# The process that holds a host's namespaces; host-exec.sh enters them by its id.
start_anchor() { # NUMBER
    # shellcheck disable=SC2016 # expanded on the host
    host=h$1 dir=$dir setsid nsenter --net="/run/netns/$prefix-h$1" \
        unshare --uts --ipc --mount bash -ec '
            hostname "$host"
            # Else /sys/class/net shows the devices of the machine. Its cgroups stay: slurmd looks there.
            mkdir "$dir/$host.cgroup"
            mount --rbind /sys/fs/cgroup "$dir/$host.cgroup"
            mount -t sysfs sysfs /sys
            mount --move "$dir/$host.cgroup" /sys/fs/cgroup
            mount --bind "$dir/hosts" /etc/hosts
            mount -t tmpfs tmpfs /dev/shm
            touch "$dir/$host.ready"
            exec sleep infinity' < /dev/null > "$dir/h$1.log" 2>&1 &
    printf '%s\n' "$!" > "$dir/h$1.pid"
}

is_ready() { # NUMBER
    local tries
    for ((tries = 0; tries < 250; tries++)); do
        [[ ! -e $dir/h$1.ready ]] || return 0
        sleep 0.02
    done
    return 1
}

add_namespace switch
ip -n "$prefix-switch" link add br0 type bridge forward_delay 0 mcast_snooping 0
ip -n "$prefix-switch" link set br0 up
for ((k = 0; k < count; k++)); do
    host=$prefix-h$k
    add_namespace "h$k"
    ip -n "$prefix-switch" link add "port$k" type veth peer name eth0 netns "$host"
    ip -n "$prefix-switch" link set "port$k" master br0 up
    ip -n "$host" addr add "$subnet.$((k + 1))/24" dev eth0
    ip -n "$host" link set eth0 up
    shape "h$k" eth0
    shape switch "port$k"
    # As on most clusters; some machines default to bbr, which paces by itself.
    ip netns exec "$host" sysctl -qw net.ipv4.tcp_congestion_control=cubic 2> /dev/null ||
        say "$host: no cubic congestion control here; the default of the machine is kept"
    start_anchor "$k"
done
for ((k = 0; k < count; k++)); do
    is_ready "$k" || fail 1 "h$k did not start: $(cat -- "$dir/h$k.log")"
done
say "$count hosts at $rate, state in $dir"
