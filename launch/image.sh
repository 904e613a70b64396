#!/bin/sh
# Builds the image edgenet:latest, in which the nodes of a cluster run as containers.
#
#   [PYTHON=python3] launch/image.sh
#
# The base image comes from the registry or, where that cannot be reached, from a Debian mirror
# (base_image.sh; root). The libraries are downloaded by this host's pip with its own settings
# (mirror, proxy, certificates) if $PYTHON is a Python 3.11 on Linux, as the image's is; otherwise
# the build takes them from PyPI. An image of the same sources is not built again.
set -eu

cd "$(dirname "$0")/.."
sources=$(find launch/Dockerfile pyproject.toml constraints.txt edgenet -type f ! -name '*.pyc' \
    -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-16)
label='{{index .Config.Labels "edgenet.sources"}}'
if [ "$(docker image inspect --format "$label" edgenet 2> /dev/null)" = "$sources" ]; then
    exit 0
fi

docker image inspect debian:bookworm-slim > /dev/null 2>&1 \
    || docker pull --quiet debian:bookworm-slim > /dev/null 2>&1 \
    || launch/base_image.sh

python=${PYTHON:-python3}
libraries=$(cat pyproject.toml constraints.txt | sha256sum | cut -c 1-16)
if [ ! -e "build/wheels/.$libraries" ] \
    && "$python" -c 'import sys; sys.exit((3, 11, "linux") != (*sys.version_info[:2], sys.platform))'; then
    rm -rf build/wheels
    mkdir -p build/wheels
    "$python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > build/requirements.txt
    "$python" -m pip download --quiet --quiet --only-binary :all: --dest build/wheels \
        --constraint constraints.txt --requirement build/requirements.txt
    : > "build/wheels/.$libraries"
fi
# The host's network, because an engine may have none of its own to offer.
docker build --network host --quiet --label "edgenet.sources=$sources" \
    --file launch/Dockerfile --tag edgenet . > /dev/null
