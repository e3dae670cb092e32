#!/usr/bin/env bash
# A Docker engine and a base image without a registry, for machines that have neither: as root on Debian or Ubuntu, with
# `apt-get install mmdebstrap runc` done. Nothing is installed: the engine is unpacked from Debian's packages.
#
#   benchmarks/local_docker.sh start FOLDER    unpacks and starts it there, makes the base image localhost/python-base;
#                                              then: export DOCKER_HOST=unix://FOLDER/docker.sock
#   benchmarks/local_docker.sh stop FOLDER     stops it; what it holds in FOLDER stays, for a faster next start
#   benchmarks/local_docker.sh remove FOLDER   the same, and deletes FOLDER
#
# Its containers have the host's network or none; it opens no port and changes no firewall rule.
set -euo pipefail

fail() {
    printf 'local_docker.sh: %s\n' "$*" >&2
    exit 2
}

start() {
    local tool
    [ "$(id -u)" = 0 ] || fail "needs root, to make containers"
    for tool in docker apt-get dpkg mmdebstrap runc; do
        command -v "$tool" >/dev/null || [ "$tool" = docker ] ||
            fail "$tool is missing; apt-get install mmdebstrap runc (on Debian or Ubuntu)"
    done
    mkdir -p "$folder/packages" "$folder/tmp"
    if [ ! -x "$folder/engine/usr/sbin/dockerd" ]; then
        (cd "$folder/packages" && apt-get download -o APT::Sandbox::User=root docker.io containerd >/dev/null)
        for package in "$folder"/packages/*.deb; do
            dpkg --extract "$package" "$folder/engine"
        done
    fi
    PATH=$PATH:$folder/engine/usr/bin:$folder/engine/usr/sbin
    if ! docker info >/dev/null 2>&1; then
        TMPDIR=$folder/tmp setsid dockerd --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" \
            --pidfile "$folder/docker.pid" --iptables=false --ip6tables=false --bridge=none \
            >"$folder/docker.log" 2>&1 &
        for _ in $(seq 60); do
            docker info >/dev/null 2>&1 && break
            sleep 0.5
        done
        docker info >/dev/null 2>&1 || fail "the engine did not start; see $folder/docker.log"
    fi
    if ! docker image inspect localhost/python-base >/dev/null 2>&1; then
        printf 'Making a base image of Debian packages\n'
        # The certificates of this machine, so that a build works behind a proxy that it trusts.
        mmdebstrap --quiet --mode=root --variant=minbase --include=python3,python3-venv,ca-certificates \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
            bookworm "$folder/base.tar"
        docker import --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
            "$folder/base.tar" localhost/python-base >/dev/null
        rm "$folder/base.tar"
    fi
}

stop() {
    local pid
    pid=$(cat "$folder/docker.pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 120); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.5
    done
    fail "the engine (process $pid) does not end"
}

[ $# = 2 ] || fail "start, stop or remove, and a folder"
mkdir -p "$2"
folder=$(realpath "$2")
export DOCKER_HOST=unix://$folder/docker.sock
case "$1" in
start) start ;;
stop) stop ;;
remove)
    stop
    # Left by containers on the host's network.
    umount "$folder"/exec/netns/* 2>/dev/null || true
    rm -rf "$folder"
    ;;
*) fail "unknown command '$1'" ;;
esac
