# Sourced by .ci/run: Debian's Chromium for the tests of pages, where it is missing and can be installed.
# Where it cannot, they skip for want of it (tests/facilities.py).

get_browser() {
    ! command -v chromium > /dev/null || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "no browser tests: chromium is missing, and only root can install it with apt-get"
        return 0
    fi
    timeout 120 apt-get update -qq > /dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -qq --no-install-recommends chromium > /dev/null 2>&1 \
        || echo "no browser tests: chromium cannot be installed here"
}
