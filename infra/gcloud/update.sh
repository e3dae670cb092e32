#!/usr/bin/env bash
# Takes the live image and the settings of now; update.sh TAG an older image. With BACKEND=bigtable without a hole: a second
# machine collects before the first one stops, and rows that both have show once. With BACKEND=local the data is on the
# machine's disk, so the same machine starts anew, and about a minute is a gap.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh
wait_s=${UPDATE_WAIT_S:-900}

mapfile -t old < <(machines)
[ "${#old[@]}" -gt 0 ] || fail "there is no machine of $stack in $zone; infra/gcloud/create.sh makes one"
if [ "$backend" = local ]; then
    user_data "${1:-live}"
    gcloud compute instances add-metadata "${old[0]}" --zone "$zone" --metadata-from-file "user-data=$scratch/user-data"
    gcloud compute instances stop "${old[0]}" --zone "$zone"
    gcloud compute instances start "${old[0]}" --zone "$zone"
    say "${old[0]} starts with ${1:-live}"
    exit
fi
new=$stack-$(date -u +%Y%m%d%H%M%S)
launch "$new" "${1:-live}"
say "$new is starting; ${old[*]} go on meanwhile"
waited=0
until logged "$new" epoch; do
    if [ "$waited" -ge "$wait_s" ]; then
        fail "$new does not collect after $wait_s s; the old machine goes on. See infra/gcloud/logs.sh, then:" \
            "gcloud compute instances delete $new --zone $zone; gcloud compute disks delete $new-data --zone $zone"
    fi
    sleep 5
    waited=$((waited + 5))
done
# A minute in which both collect, so that no market of the new one is still without a book.
sleep "${OVERLAP_S:-60}"
for machine in "${old[@]}"; do
    say "$machine stores what it has and stops"
    gcloud compute instances stop "$machine" --zone "$zone"
    if logged "$machine" "everything is stored"; then
        gcloud compute instances delete "$machine" --zone "$zone"
        gcloud compute disks delete "$machine-data" --zone "$zone"
    else
        gcloud compute instances delete "$machine" --zone "$zone"
        say "$machine did not say that everything is stored, so its journal stays, on disk $machine-data:" \
            "see 'Moving a journal' in OPERATIONS.md"
    fi
done
say "$new collects"
