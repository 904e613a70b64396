#!/bin/sh
# Makes the image debian:bookworm-slim out of a Debian mirror, where no registry can be reached.
# Needs root, debootstrap and a Docker engine; takes half a minute.
#
#   [MIRROR=http://deb.debian.org/debian] launch/base_image.sh
set -eu

command -v debootstrap > /dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 2; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
debootstrap --variant=minbase bookworm "$root" "${MIRROR:-http://deb.debian.org/debian}" > "$root.log" 2>&1 \
    || { tail -n 5 "$root.log" >&2; rm -f "$root.log"; exit 3; }
rm -f "$root.log"
# What makes the registry's image slim.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/usr/share/info/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - debian:bookworm-slim > /dev/null
