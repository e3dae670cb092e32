#!/usr/bin/env bash
# Makes the nightly job, or brings it up to date: export one market from Bigtable, train, keep the models in a bucket, as
# a Cloud Run job that Cloud Scheduler starts. First BACKEND=bigtable create.sh, then deploy.sh --training, whose image it
# runs. `training.sh --run` also starts it now. destroy.sh takes it down.
#
#   JOB_SCHEDULE             when, as in cron, in UTC  [30 0 * * *]
#   JOB_CPU, JOB_MEMORY      [2, 8Gi]; the export counts as memory too
#   JOB_SYMBOL  [BTCUSDT], JOB_DAYS, JOB_TARGETS, … go to the job: see infra/batch/export_and_train.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh
case "$*" in '' | --run) ;; *) fail "takes no arguments but --run, not '$*'" ;; esac
there bigtable instances describe "$stack" ||
    fail "there is no Bigtable instance $stack, and the job cannot read a machine's disk; BACKEND=bigtable" \
        "infra/gcloud/create.sh makes one, or run infra/batch/export_and_train.sh by cron on a machine of yours"
there artifacts docker images describe "$repository/training:live" ||
    fail "there is no image $repository/training:live; infra/gcloud/deploy.sh --training pushes it"

job=$stack-training
bucket=$project-$stack-models
trainer=$(account_of "$stack-train")
starter=$(account_of "$stack-cron")
gcloud services enable run.googleapis.com cloudscheduler.googleapis.com storage.googleapis.com

say "Bucket $bucket"
there storage buckets describe "gs://$bucket" ||
    gcloud storage buckets create "gs://$bucket" --location "$region" --uniform-bucket-level-access \
        --public-access-prevention
gcloud storage buckets update "gs://$bucket" --versioning

say "Rights"
there iam service-accounts describe "$trainer" ||
    gcloud iam service-accounts create "$stack-train" --display-name "Depth collector: training"
there iam service-accounts describe "$starter" ||
    gcloud iam service-accounts create "$stack-cron" --display-name "Depth collector: starts the training"
grant bigtable instances add-iam-policy-binding "$stack" \
    --member "serviceAccount:$trainer" --role roles/bigtable.reader
grant storage buckets add-iam-policy-binding "gs://$bucket" \
    --member "serviceAccount:$trainer" --role roles/storage.objectUser

variables="DB_BACKEND=bigtable|BIGTABLE_PROJECT_ID=$project|BIGTABLE_INSTANCE_ID=$stack|JOB_RESULTS=/results"
: "${JOB_SYMBOL:=BTCUSDT}"
for name in JOB_SYMBOL JOB_EXCHANGE JOB_DATASET JOB_DAYS JOB_TARGETS JOB_TRAIN; do
    [ -z "${!name:-}" ] || variables+="|$name=${!name}"
done
say "Job $job"
gcloud run jobs deploy "$job" --region "$region" --image "$repository/training:live" \
    --command /app/export_and_train.sh --service-account "$trainer" --task-timeout 6h --max-retries 1 \
    --cpu "${JOB_CPU:-2}" --memory "${JOB_MEMORY:-8Gi}" --set-env-vars "^|^$variables" \
    --add-volume "name=results,type=cloud-storage,bucket=$bucket" \
    --add-volume-mount "volume=results,mount-path=/results"
grant run jobs add-iam-policy-binding "$job" --region "$region" \
    --member "serviceAccount:$starter" --role roles/run.invoker

action=create
! there scheduler jobs describe "$job" --location "$region" || action=update
gcloud scheduler jobs "$action" http "$job" --location "$region" --schedule "${JOB_SCHEDULE:-30 0 * * *}" \
    --time-zone Etc/UTC --http-method POST --oauth-service-account-email "$starter" \
    --uri "https://run.googleapis.com/v2/projects/$project/locations/$region/jobs/$job:run" >/dev/null
[ "${1:-}" != --run ] || gcloud run jobs execute "$job" --region "$region" --async
say "$job runs at '${JOB_SCHEDULE:-30 0 * * *}' UTC; models go to gs://$bucket"
