#!/bin/sh
# Starts a topology's nodes as ranks of torchrun on several hosts. Run it on every host, with the
# same topology file, and with HOST counting from 0:
#
#   MASTER_ADDR=10.0.0.1 HOSTS=2 HOST=0 RANKS=2 EDGENET_KEY=secret \
#       [MASTER_PORT=29500] [OUT=DIR] launch/torchrun_hosts.sh TOPOLOGY [options of torchrun.sh]
#
# MASTER_ADDR is host 0 as the others reach it, RANKS how many nodes of the topology this host
# takes; together the hosts must take all of them (`processes` of `edgenet check T --format json`).
# Rank r is the r-th seat; the ranks of host 0 come first, and its folder gets the results.
# The others reach this host's links by the address from which it reaches MASTER_ADDR, or by
# EDGENET_ADDRESS (an address or a name), where that route misleads or MASTER_ADDR means loopback
# here, as a host's own name often does. No other name has to be known, and GLOO_SOCKET_IFNAME
# plays no part. Ports: MASTER_PORT at host 0, and any free ones between the hosts.
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
: "${MASTER_ADDR:?the address of host 0}" "${HOSTS:?how many hosts}"
: "${HOST:?which of them this is, from 0}" "${RANKS:?how many nodes run here}"
: "${EDGENET_KEY:?a secret that is the same on every host}"
export EDGENET_KEY OMP_NUM_THREADS=1

edgenet check "$@" >/dev/null
exec torchrun --nnodes "$HOSTS" --node-rank "$HOST" --nproc-per-node "$RANKS" \
    --master-addr "$MASTER_ADDR" --master-port "${MASTER_PORT:-29500}" \
    -m edgenet.worker "$@" --out "${OUT:-runs}"
