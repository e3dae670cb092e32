#!/usr/bin/env bash
# Restarts the collector on its machine, which takes the live image; about half a minute is a gap. Through Session Manager.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh

mapfile -t running < <(instances)
[ "${#running[@]}" -gt 0 ] || fail "there is no machine of $stack in $region; infra/aws/create.sh makes one"
aws ssm send-command --instance-ids "${running[@]}" --document-name AWS-RunShellScript \
    --parameters 'commands=["systemctl restart collector.service"]' --query Command.CommandId --output text
say "restarting on ${running[*]}; follow it with infra/aws/logs.sh"
