#!/bin/sh
# Make a base that stands in for python:3.11-slim-bookworm where no registry has it: Debian's packages and Python, as
# root, by debootstrap. In what matters here it is like the official one: pip below /usr/local, no compiler, no libgomp1.
#   images/base.sh REFERENCE [DOCKER [BUNDLE]]
# BUNDLE: certificates that are trusted in it besides Debian's, where packages come through a proxy.
set -eu

reference=$1 docker=${2:-docker} bundle=${3:-}
"$docker" version > /dev/null
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
root=$place/root
debootstrap --variant=minbase --include=ca-certificates,netbase,python3,python3-venv bookworm "$root" > "$place/log" \
    || { tail -n 5 "$place/log"; exit 1; }
# Debian's mark that its own tools alone install there: the official image has no such thing.
rm "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
wheels=/usr/share/python-wheels
chroot "$root" sh -c "python3 \$(echo $wheels/pip-*.whl)/pip --isolated install --quiet --no-index --find-links $wheels \
    --root-user-action=ignore pip setuptools"
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
ln -s /usr/bin/python3 "$root/usr/local/bin/python3"
certificates=etc/ssl/certs/ca-certificates.crt
[ -z "$bundle" ] || cat "$bundle" >> "$root/$certificates"
# The engine lays its own over these two; one that is not there it makes, and changes /etc.
: > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/*.log
tar -C "$root" -c . | "$docker" import -c 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    -c 'ENV LANG=C.UTF-8' -c "ENV SSL_CERT_FILE=/$certificates" -c 'CMD ["python3"]' - "$reference"
