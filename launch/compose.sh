#!/bin/sh
# Starts every node of a topology as a container on this host, and ends with the run's exit code.
#
#   [OUT=DIR] [COMPOSE='docker compose'] launch/compose.sh TOPOLOGY \
#       [--set KEY=VALUE]... [--seed N] [--shaping S]
#
# Builds the image where it is not up to date (image.sh). The run's folder is copied to OUT (default
# runs); containers, network and volume are gone afterwards. The run ends when the server's container
# does: a learner that dies meanwhile is a fault, as under `edgenet run`.
set -eu

if [ $# -lt 1 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
file=$work/docker-compose.yml
project=edgenet-$(basename "$work" | tr -cd 'A-Za-z0-9' | tr 'A-Z' 'a-z')
edgenet compose "$@" --output "$file"
"$(dirname "$0")/image.sh"

if [ -z "${COMPOSE:-}" ]; then
    COMPOSE=docker-compose
    ! docker compose version > /dev/null 2>&1 || COMPOSE='docker compose'
fi
# A new random join key for this run, unless the caller has set one.
EDGENET_KEY=${EDGENET_KEY:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export EDGENET_KEY

compose() {
    $COMPOSE --project-name "$project" --file "$file" "$@"
}
containers() {
    docker ps --quiet --filter "label=com.docker.compose.project=$project" "$@"
}
clean() {
    compose down --volumes --timeout 5 > "$work/down.log" 2>&1 || cat "$work/down.log" >&2
    rm -rf "$work"
}

trap clean EXIT
compose up --detach > "$work/up.log" 2>&1 || { cat "$work/up.log" >&2; exit 3; }
first=$(containers --all --filter label=edgenet.rank=0)
# All at once (compose would stop one after the other); the server then writes what there is.
trap 'containers | xargs docker kill --signal TERM > /dev/null 2>&1' INT TERM
docker logs --follow "$first" &
logs=$!
wait "$logs" || wait "$logs" || true # the first is cut short by a signal
code=$(docker wait "$first")
mkdir -p "${OUT:-runs}"
docker cp "$first:/runs/." "${OUT:-runs}" > /dev/null
echo "edgenet: /runs was copied to ${OUT:-runs}" >&2
exit "$code"
