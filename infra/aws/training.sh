#!/usr/bin/env bash
# Makes the nightly job, or brings it up to date: export one market from the bucket, train, keep the models in the same
# bucket under models/, as a job of AWS Batch on Fargate that EventBridge starts. First create.sh, then
# deploy.sh --training, whose image it runs. `training.sh --run` also starts it now. destroy.sh takes it down.
#
#   JOB_SCHEDULE             when, as EventBridge writes it, in UTC  [cron(30 0 * * ? *)]
#   JOB_CPU, JOB_MEMORY      [2, 8192]; in MiB, and the export counts as memory too
#   JOB_SYMBOL  [BTCUSDT], JOB_DAYS, JOB_TARGETS, … go to the job: see infra/batch/export_and_train.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh
case "$*" in '' | --run) ;; *) fail "takes no arguments but --run, not '$*'" ;; esac
image=$registry/$stack:training
aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1 ||
    fail "there is no bucket $bucket, from which the job reads; infra/aws/create.sh makes it"
aws ecr describe-images --repository-name "$stack" --image-ids imageTag=training >/dev/null 2>&1 ||
    fail "there is no image $image; infra/aws/deploy.sh --training pushes it"
schedule=${JOB_SCHEDULE:-cron(30 0 * * ? *)}

say "Rights"
role "$job" ecs-tasks.amazonaws.com
role "$stack-batch-execution" ecs-tasks.amazonaws.com
role "$stack-batch-service" batch.amazonaws.com
role "$stack-schedule" events.amazonaws.com
aws iam put-role-policy --role-name "$job" --policy-name training --policy-document '{"Version": "2012-10-17",
    "Statement": [
    {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"],
     "Resource": ["arn:aws:s3:::'"$bucket"'", "arn:aws:s3:::'"$bucket"'/*"]},
    {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::'"$bucket"'/models/*"}]}'
aws iam attach-role-policy --role-name "$stack-batch-execution" \
    --policy-arn arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy
aws iam attach-role-policy --role-name "$stack-batch-service" \
    --policy-arn arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole
[ "$new_roles" = 0 ] || sleep "${PROFILE_WAIT_S:-15}" # as in create.sh

say "Queue $job"
environment_arn=$(environments computeEnvironmentArn)
if [ -z "$environment_arn" ]; then
    group=$(aws ec2 describe-security-groups --filters "Name=group-name,Values=$stack" \
        --query 'SecurityGroups[0].GroupId' --output text)
    place=$(subnet)
    environment_arn=$(aws batch create-compute-environment --compute-environment-name "$job" --type MANAGED \
        --service-role "arn:aws:iam::$account:role/$stack-batch-service" --query computeEnvironmentArn --output text \
        --compute-resources "type=FARGATE_SPOT,maxvCpus=16,subnets=$place,securityGroupIds=$group")
fi
becomes VALID environments status # also after a run that gave up waiting
queue_arn=$(queues jobQueueArn)
if [ -z "$queue_arn" ]; then
    queue_arn=$(aws batch create-job-queue --job-queue-name "$job" --priority 1 --state ENABLED \
        --compute-environment-order "order=1,computeEnvironment=$environment_arn" \
        --query jobQueueArn --output text)
fi
becomes VALID queues status

: "${JOB_SYMBOL:=BTCUSDT}"
variables=$(variable DB_BACKEND s3),$(variable S3_BUCKET "$bucket"),$(variable S3_REGION "$region")
variables+=,$(variable JOB_RESULTS "s3://$bucket/models")
for name in JOB_SYMBOL JOB_EXCHANGE JOB_DATASET JOB_DAYS JOB_TARGETS JOB_TRAIN; do
    [ -z "${!name:-}" ] || variables+=,$(variable "$name" "${!name}")
done
say "Job $job"
older=$(definitions)
definition=$(aws batch register-job-definition --job-definition-name "$job" --type container \
    --platform-capabilities FARGATE --retry-strategy attempts=2 --timeout attemptDurationSeconds=21600 \
    --query jobDefinitionArn --output text --container-properties '{
    "image": "'"$image"'", "command": ["/app/export_and_train.sh"], "environment": ['"$variables"'],
    "jobRoleArn": "arn:aws:iam::'"$account:role/$job"'",
    "executionRoleArn": "arn:aws:iam::'"$account:role/$stack-batch-execution"'",
    "resourceRequirements": [{"type": "VCPU", "value": "'"${JOB_CPU:-2}"'"},
                             {"type": "MEMORY", "value": "'"${JOB_MEMORY:-8192}"'"}],
    "networkConfiguration": {"assignPublicIp": "ENABLED"}, "ephemeralStorage": {"sizeInGiB": 50},
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "'"$log_group"'",
        "awslogs-region": "'"$region"'", "awslogs-stream-prefix": "training"}}}')

aws iam put-role-policy --role-name "$stack-schedule" --policy-name submit --policy-document '{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "batch:SubmitJob",
     "Resource": ["'"$queue_arn"'", "'"${definition%:*}"':*"]}]}'
aws events put-rule --name "$job" --schedule-expression "$schedule" >/dev/null
failed=$(aws events put-targets --rule "$job" --query FailedEntryCount --output text --targets '[{"Id": "job",
    "Arn": "'"$queue_arn"'", "RoleArn": "arn:aws:iam::'"$account:role/$stack-schedule"'",
    "BatchParameters": {"JobDefinition": "'"$definition"'", "JobName": "'"$job"'"}}]')
[ "$failed" = 0 ] || fail "EventBridge did not take the job; see aws events list-targets-by-rule --rule $job"
for old in $older; do
    aws batch deregister-job-definition --job-definition "$old"
done
[ "${1:-}" != --run ] ||
    aws batch submit-job --job-name "$job" --job-queue "$job" --job-definition "$definition" >/dev/null
say "$job runs at '$schedule' UTC; models go to s3://$bucket/models"
