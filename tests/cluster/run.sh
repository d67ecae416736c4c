#!/usr/bin/env bash
# Jobs on a private Slurm; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--page FILE] [--short] [GROUP...]

Runs jobs/slurm.sbatch and a sweep's job array on a real Slurm that is started for
it on this machine, as jobs/cluster/slurm-up.sh says, and looks at what comes of
them. A line for each check; groups of checks are

  plain    a job by srun, and one by mpirun; wrong configs; STOP; scancel
  killed   a job one of whose ranks is killed, submitted again
  limit    a job that needs several time limits, by srun and by mpirun
  array    a sweep's array whose last task needs several time limits
  node     Slurm on hosts with a network between them, one of which is powered off

All take about 15 minutes, most of it waiting: time limits are whole minutes. With
--short only plain, without waiting, half a minute, and skipped where it cannot be
had.

Needs root, and the rights that jobs/cluster/hosts-up.sh needs for the group node.
Packages that are missing are installed. Everything is taken down at the end.

--page FILE also writes the results there, as Markdown.

Environment:
  SOBAYA   the program, instead of building it

Exit status: 0 all hold, 1 one does not, 2 wrong arguments, or something is
missing that this script cannot install; 77 the machine does not permit it
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../../jobs/prepare.sh"
here=$root/tests/cluster
groups=() page='' short=no
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --page)
            (($# > 1)) || fail 2 "--page needs a file"
            page=$2
            shift
            ;;
        --short) short=yes ;;
        plain | killed | limit | array | node) groups+=("$1") ;;
        *) fail 2 "unknown argument $1 (see $me --help)" ;;
    esac
    shift
done
if ((${#groups[@]} == 0)); then
    groups=(plain)
    [[ $short == yes ]] || groups+=(killed limit array node)
fi

[[ $(id -u) == 0 ]] || fail 77 "skipped: it takes root to start a Slurm of several nodes on one machine"
unshare --uts true 2> /dev/null || fail 77 "skipped: it takes CAP_SYS_ADMIN to give nodes host names of their own"
packages+=(slurm-wlm munge iproute2)
if [[ $short == yes ]]; then
    (prepare_system) || fail 77 "skipped: what it needs cannot be installed"
else
    prepare_system
fi
if [[ -n ${SOBAYA-} ]]; then
    program=$(realpath -- "$SOBAYA")
else
    prepare_rust
    (cd -- "$root" && build)
fi
[[ -x $program ]] || fail 2 "there is no program $program"
export SOBAYA=$program

# shellcheck source=tests/cluster/common.sh
source "$here/common.sh"
for group in plain killed limit array node; do
    # shellcheck source=/dev/null
    source "$here/$group.sh"
done
work=$(mktemp -d /tmp/sobaya-cluster.XXXXXX)
export HOSTS_DIR=$work/hosts
take_down() {
    local status=$?
    "$root/jobs/cluster/slurm-down.sh" "$work/slurm" > /dev/null || true
    "$root/jobs/cluster/hosts-down.sh" > /dev/null || true
    if ((status == 0)); then rm -rf -- "$work"; else say "what the jobs said is in $work"; fi
}
trap take_down EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

cd -- "$work"
for group in "${groups[@]}"; do "group_$group"; done

report() {
    cat <<END
# Jobs on a private Slurm

Written by \`bash tests/cluster/run.sh --page\` on $(date -u +%F), at git $(git -C "$root" describe --always --dirty): one machine with
$(cores) cores, private Slurm $(sbatch --version | cut -d ' ' -f 2), $(mpirun --version | head -n 1 | sed 's/[()]//g'). Nodes share the machine's cores. "Equal" means that
\`sobaya log diff\` finds no difference to a run of the same config by one process that was never stopped, and
that the 64-bit hash of (x, y, z) is the same.

| check | result | seen | seconds |
|---|---|---|---:|
END
    printf '%s\n' "${rows[@]}"
}
if [[ -n $page ]]; then report > "$page"; fi
((failed == 0)) || fail 1 "$failed of ${#rows[@]} checks fail"
say "${#rows[@]} checks hold"
