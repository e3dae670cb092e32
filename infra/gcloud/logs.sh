#!/usr/bin/env bash
# Shows the collector's lines of the last ten minutes and follows them; logs.sh MINUTES shows those of so many, and ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh

from=$(date -u -d "@$(($(date +%s) - 60 * ${1:-10}))" +%Y-%m-%dT%H:%M:%SZ)
while :; do
    until=$(date -u -d "@$(($(date +%s) - 5))" +%Y-%m-%dT%H:%M:%SZ)
    gcloud logging read --order asc --limit 10000 --format 'value(jsonPayload.message)' \
        "logName=\"projects/$project/logs/gcplogs-docker-driver\" AND timestamp>=\"$from\" AND timestamp<\"$until\""
    [ $# -eq 0 ] || break
    from=$until
    sleep 10
done
