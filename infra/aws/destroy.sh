#!/usr/bin/env bash
# Takes everything down but data: destroy.sh --yes. With --data too, the bucket, and volumes with rows that never got there.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh
case " $* " in
*' --yes '*) ;;
*) fail "takes down $stack in account $account, region $region; say destroy.sh --yes, and --data to delete all rows too" ;;
esac

if aws events describe-rule --name "$job" >/dev/null 2>&1; then
    say "The nightly job goes; its models stay in the bucket"
    aws events remove-targets --rule "$job" --ids job >/dev/null
    aws events delete-rule --name "$job"
fi
# Batch lets go of nothing that is enabled, or that something else still names.
if [ -n "$(queues status)" ]; then
    aws batch update-job-queue --job-queue "$job" --state DISABLED >/dev/null
    becomes VALID queues status
    aws batch delete-job-queue --job-queue "$job"
    becomes '' queues status
fi
if [ -n "$(environments status)" ]; then
    aws batch update-compute-environment --compute-environment "$job" --state DISABLED >/dev/null
    becomes VALID environments status
    aws batch delete-compute-environment --compute-environment "$job"
    becomes '' environments status
fi
for definition in $(definitions); do
    aws batch deregister-job-definition --job-definition "$definition"
done
for name in "$job" "$stack-batch-execution" "$stack-batch-service" "$stack-schedule"; do
    remove_role "$name"
done

existing=$(instances)
for instance in $existing; do
    say "$instance stores what it has and goes"
    volume=$(data_volume "$instance")
    aws ec2 stop-instances --instance-ids "$instance" >/dev/null
    aws ec2 wait instance-stopped --instance-ids "$instance"
    drained=no
    ! logged "$instance" "everything is stored" || drained=yes
    aws ec2 terminate-instances --instance-ids "$instance" >/dev/null
    aws ec2 wait instance-terminated --instance-ids "$instance"
    [ "$drained" = no ] || aws ec2 delete-volume --volume-id "$volume"
done
volumes=$(aws ec2 describe-volumes --filters "Name=tag:stack,Values=$stack" --query 'Volumes[].VolumeId' --output text)
case " $* " in
*' --data '*)
    for volume in $volumes; do
        aws ec2 delete-volume --volume-id "$volume"
    done
    ;;
*)
    [ -z "$volumes" ] || say "these volumes stay, since nothing said that their journal was stored: $volumes" \
        "(see 'Moving a journal' in OPERATIONS.md)"
    ;;
esac
group=$(aws ec2 describe-security-groups --filters "Name=group-name,Values=$stack" \
    --query 'SecurityGroups[0].GroupId' --output text)
[ "$group" = None ] || aws ec2 delete-security-group --group-id "$group" >/dev/null
if aws iam get-instance-profile --instance-profile-name "$stack" >/dev/null 2>&1; then
    aws iam remove-role-from-instance-profile --instance-profile-name "$stack" --role-name "$stack"
    aws iam delete-instance-profile --instance-profile-name "$stack"
fi
remove_role "$stack"
aws logs delete-log-group --log-group-name "$log_group" 2>/dev/null || true
aws ecr delete-repository --repository-name "$stack" --force >/dev/null 2>&1 || true
case " $* " in
*' --data '*)
    if aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
        # The bucket keeps old versions, which `s3 rb --force` would not find.
        while :; do
            aws s3api list-object-versions --bucket "$bucket" --max-items 500 --output json \
                --query '{Objects: [Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}}' >"$scratch/objects"
            grep -q VersionId "$scratch/objects" || break
            aws s3api delete-objects --bucket "$bucket" --delete "file://$scratch/objects" >/dev/null
        done
        aws s3api delete-bucket --bucket "$bucket"
    fi
    ;;
*) say "the bucket $bucket stays, with all rows" ;;
esac
say "$stack is gone"
