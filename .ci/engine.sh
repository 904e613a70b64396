# Sourced by .ci/run: a Docker engine for the container tests, where none is up. It has a socket, a
# process id and a store of images (kept between runs) of its own, and leaves the host's network as it
# is: no docker0, no firewall rules, no forwarding. Containers reach each other, and need no more.
#
# Where there can be none (not root, nothing to install it with) it says so, and `docker info` fails:
# that is when the tests may skip.

engine=      # the folder of the engine that was started here
engine_pid=

start_engine() {
    ! docker info > /dev/null 2>&1 || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "no container tests: no Docker engine is up, and only root can start one"
        return 0
    fi
    if ! engine_tools; then
        if ! install_engine; then
            echo "no container tests: dockerd, docker-compose and debootstrap cannot be installed here"
            return 0
        fi
        ! docker info > /dev/null 2>&1 || return 0 # the package has started one
    fi
    launch_engine
}

engine_tools() {
    command -v dockerd > /dev/null && command -v docker > /dev/null && command -v debootstrap > /dev/null \
        && { command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1; }
}

install_engine() {
    command -v apt-get > /dev/null \
        && timeout 120 apt-get update -qq > /dev/null 2>&1 \
        && DEBIAN_FRONTEND=noninteractive timeout 240 apt-get install -y -qq --no-install-recommends \
            docker.io docker-compose debootstrap iptables > /dev/null 2>&1 \
        && engine_tools
}

launch_engine() {
    local store=/var/cache/edgenet/engine turn
    engine=$(mktemp -d /tmp/edgenet-engine.XXXXXX)
    mkdir -p "$store"
    exec {engine_lock}> "$store/lock"
    flock --nonblock "$engine_lock" || store=$engine # another run's engine is at it
    # The engine holds the lock, too, and ends with this shell, whatever ends that.
    setpriv --pdeathsig TERM dockerd --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none \
        --data-root "$store/data" --exec-root "$engine/exec" --pidfile "$engine/pid" \
        --host "unix://$engine/socket" > "$engine/log" 2>&1 &
    engine_pid=$!
    for turn in $(seq 100); do
        ! DOCKER_HOST=unix://$engine/socket docker info > /dev/null 2>&1 || break
        kill -0 "$engine_pid" 2> /dev/null && [ "$turn" -lt 100 ] \
            || { echo "no container tests: dockerd does not come up:"; tail -n 3 "$engine/log"; stop_engine; return 0; }
        sleep 0.3
    done
    export DOCKER_HOST=unix://$engine/socket
}

# Ends the engine that start_engine has started, and what is in it but for the images.
stop_engine() {
    [ -n "$engine_pid" ] || return 0
    docker ps --all --quiet 2> /dev/null | xargs --no-run-if-empty docker rm --force --volumes > /dev/null 2>&1 || true
    docker network prune --force > /dev/null 2>&1 || true
    kill "$engine_pid" 2> /dev/null || true
    wait "$engine_pid" 2> /dev/null || true
    engine_pid=
    unset DOCKER_HOST
    exec {engine_lock}>&-
    umount "$engine"/exec/netns/* 2> /dev/null || true # the host's own, which dockerd leaves mounted
    rmdir /sys/fs/cgroup/*/docker 2> /dev/null || true
    rm -rf "$engine"
}
