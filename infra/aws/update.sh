#!/usr/bin/env bash
# Takes the live image and the settings of now, without a hole: a second machine collects before the first one stops. Rows
# that both have show once. update.sh TAG takes an older image instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh
wait_s=${UPDATE_WAIT_S:-900}

mapfile -t old < <(instances)
new=$(launch "${1:-live}")
say "$new is starting; ${old[*]:-none} go on meanwhile"
waited=0
until logged "$new" "epoch"; do
    if [ "$waited" -ge "$wait_s" ]; then
        fail "$new does not collect after $wait_s s; the old machine goes on." \
            "See infra/aws/logs.sh, then: aws ec2 terminate-instances --instance-ids $new"
    fi
    sleep 5
    waited=$((waited + 5))
done
# A minute in which both collect, so that no market of the new one is still without a book.
sleep "${OVERLAP_S:-60}"
for instance in ${old[@]+"${old[@]}"}; do
    say "$instance stores what it has and stops"
    aws ec2 stop-instances --instance-ids "$instance" >/dev/null
    aws ec2 wait instance-stopped --instance-ids "$instance"
    volume=$(data_volume "$instance")
    drained=no
    ! logged "$instance" "everything is stored" || drained=yes
    aws ec2 terminate-instances --instance-ids "$instance" >/dev/null
    aws ec2 wait instance-terminated --instance-ids "$instance"
    if [ "$drained" = yes ]; then
        aws ec2 delete-volume --volume-id "$volume"
    else
        say "$instance did not say that everything is stored, so its journal stays, on volume $volume:" \
            "see 'Moving a journal' in OPERATIONS.md"
    fi
done
say "$new collects"
