#!/usr/bin/env bash
# The paper's experiments, all of configs/paper or those named: jobs/study.sh paper, with its options.
exec "$(dirname -- "${BASH_SOURCE[0]}")/study.sh" paper "$@"
