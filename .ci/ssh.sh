# Sourced by .ci/run: what the tests of boards need, an OpenSSH server and a WireGuard in user space.
# They start their own in network namespaces; nothing is started, and no port is opened, on the host.
#
# Where they cannot be installed it says so: that is when the tests may skip.

install_board_tools() {
    ! board_tools || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "no tests of boards: sshd, wg and wireguard-go cannot be installed here"
        return 0
    fi
    # A server that the package would start is not wanted: dpkg asks policy-rc.d.
    local policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && policy= || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; }
    { timeout 120 apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 240 apt-get install -y -qq \
        --no-install-recommends openssh-server openssh-client wireguard-tools wireguard-go; } > /dev/null 2>&1 \
        || echo "no tests of boards: sshd, wg and wireguard-go cannot be installed here"
    [ -z "$policy" ] || rm -f "$policy"
}

board_tools() {
    PATH=$PATH:/usr/sbin command -v sshd > /dev/null && command -v ssh > /dev/null \
        && command -v wg > /dev/null && command -v wireguard-go > /dev/null
}
