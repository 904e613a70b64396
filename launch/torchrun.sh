#!/bin/sh
# Starts every node of a topology as a rank of torchrun, on this host.
#
#   [OUT=DIR] launch/torchrun.sh TOPOLOGY [--set KEY=VALUE]... [--seed N] [--shaping S]
#
# The number of ranks comes from `edgenet check`. torchrun ends with 1 whenever a rank does not end
# with 0; the rank's own sentence on stderr says why.
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
found=$(edgenet check "$@" --format json)
ranks=$(printf '%s\n' "$found" | sed -n 's/.*"processes": \([0-9]*\).*/\1/p')

# A new random join key for this run, unless the caller has set one.
EDGENET_KEY=${EDGENET_KEY:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export EDGENET_KEY OMP_NUM_THREADS=1

# --standalone: torchrun's store gets a free port, so that runs do not disturb each other.
exec torchrun --standalone --nproc-per-node "$ranks" -m edgenet.worker "$@" --out "${OUT:-runs}"
