#!/bin/sh
# Starts every node of a topology as a process on this host.
#
#   launch/local.sh TOPOLOGY [options of `edgenet run`]
#
# Example:
#   launch/local.sh topologies/quickstart.yaml --set train.rounds=3
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
exec edgenet run "$@"
