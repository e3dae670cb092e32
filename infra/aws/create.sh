#!/usr/bin/env bash
# Makes everything on AWS: bucket, registry, log, rights, and the machine. What is there stays. See settings.sh.
# The machine waits for an image, which deploy.sh pushes.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh

say "Account $account, region $region, everything is named $stack"

say "Bucket $bucket"
if ! aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
    where=()
    [ "$region" = us-east-1 ] || where=(--create-bucket-configuration "LocationConstraint=$region")
    aws s3api create-bucket --bucket "$bucket" ${where[@]+"${where[@]}"} >/dev/null
fi
aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
aws s3api put-bucket-encryption --bucket "$bucket" --server-side-encryption-configuration \
    '{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}'
aws s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
aws s3api put-bucket-lifecycle-configuration --bucket "$bucket" --lifecycle-configuration '{"Rules": [
    {"ID": "unfinished uploads", "Status": "Enabled", "Filter": {"Prefix": ""},
     "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    {"ID": "cheaper when old", "Status": "Enabled", "Filter": {"Prefix": ""},
     "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
     "NoncurrentVersionExpiration": {"NoncurrentDays": 7}}]}' >/dev/null
aws s3api put-bucket-policy --bucket "$bucket" --policy '{"Version": "2012-10-17", "Statement": [
    {"Sid": "OnlyEncrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
     "Resource": ["arn:aws:s3:::'"$bucket"'", "arn:aws:s3:::'"$bucket"'/*"],
     "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}'

say "Registry $registry/$stack"
aws ecr describe-repositories --repository-names "$stack" >/dev/null 2>&1 ||
    aws ecr create-repository --repository-name "$stack" --image-scanning-configuration scanOnPush=true >/dev/null
aws ecr put-lifecycle-policy --repository-name "$stack" --lifecycle-policy-text '{"rules": [
    {"rulePriority": 1, "description": "That of the nightly job stays", "action": {"type": "expire"},
     "selection": {"tagStatus": "tagged", "tagPrefixList": ["training"], "countType": "imageCountMoreThan",
                   "countNumber": 1}},
    {"rulePriority": 2, "description": "The last ten", "action": {"type": "expire"},
     "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10}}]}' >/dev/null

say "Log $log_group"
[ "$(aws logs describe-log-groups --log-group-name-prefix "$log_group" \
    --query "length(logGroups[?logGroupName=='$log_group'])" --output text)" != 0 ] ||
    aws logs create-log-group --log-group-name "$log_group"
aws logs put-retention-policy --log-group-name "$log_group" --retention-in-days 30

say "Rights"
role "$stack" ec2.amazonaws.com
aws iam put-role-policy --role-name "$stack" --policy-name collector --policy-document '{"Version": "2012-10-17",
    "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::'"$bucket"'"},
    {"Effect": "Allow", "Resource": "arn:aws:s3:::'"$bucket"'/*",
     "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]},
    {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
    {"Effect": "Allow", "Resource": "arn:aws:ecr:'"$region:$account:repository/$stack"'",
     "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]},
    {"Effect": "Allow", "Resource": "arn:aws:logs:'"$region:$account:log-group:$log_group"':*",
     "Action": ["logs:CreateLogStream", "logs:PutLogEvents"]}]}'
aws iam attach-role-policy --role-name "$stack" --policy-arn arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore
if ! aws iam get-instance-profile --instance-profile-name "$stack" >/dev/null 2>&1; then
    aws iam create-instance-profile --instance-profile-name "$stack" >/dev/null
    aws iam add-role-to-instance-profile --instance-profile-name "$stack" --role-name "$stack"
    # EC2 learns of a new profile some seconds later, and refuses it until then.
    sleep "${PROFILE_WAIT_S:-15}"
fi

group=$(aws ec2 describe-security-groups --filters "Name=group-name,Values=$stack" \
    --query 'SecurityGroups[0].GroupId' --output text)
if [ "$group" = None ]; then
    network=$(aws ec2 describe-subnets --subnet-ids "$(subnet)" --query 'Subnets[0].VpcId' --output text)
    group=$(aws ec2 create-security-group --group-name "$stack" --vpc-id "$network" \
        --description "Out to exchanges and AWS; in nothing, or SSH" --query GroupId --output text)
fi
if [ -n "${SSH_KEY:-}" ] && [ -n "${SSH_FROM:-}" ]; then
    aws ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 22 --cidr "$SSH_FROM" \
        >/dev/null 2>"$scratch/error" || grep -q Duplicate "$scratch/error" || fail "$(cat "$scratch/error")"
fi

instance=$(instances | head -n 1)
if [ -z "$instance" ]; then
    say "Machine: a $type with $data_gb GB"
    instance=$(launch live)
fi
say "Machine $instance"
say "Next: infra/aws/deploy.sh builds and pushes the image; the machine takes it within a minute"
