#!/usr/bin/env bash
# Restarts the machine, which takes the live image; about a minute is a gap.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh

mapfile -t running < <(machines)
[ "${#running[@]}" -gt 0 ] || fail "there is no machine of $stack in $zone; infra/gcloud/create.sh makes one"
for machine in "${running[@]}"; do
    gcloud compute instances stop "$machine" --zone "$zone"
    gcloud compute instances start "$machine" --zone "$zone"
done
say "restarting ${running[*]}; follow it with infra/gcloud/logs.sh"
