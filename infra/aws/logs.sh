#!/usr/bin/env bash
# Shows the collector's lines of the last ten minutes and follows them; logs.sh MINUTES shows those of so many, and ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh

# `aws logs tail` is not in version 1 of the command line.
from_ms=$((($(date +%s) - 60 * ${1:-10}) * 1000))
while :; do
    until_ms=$((($(date +%s) - 2) * 1000))
    aws logs filter-log-events --log-group-name "$log_group" --start-time "$from_ms" --end-time "$until_ms" \
        --query 'events[].[message]' --output text | sed '/^None$/d'
    [ $# -eq 0 ] || break
    from_ms=$((until_ms + 1))
    sleep 5
done
