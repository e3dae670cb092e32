#!/usr/bin/env bash
# Takes everything down but data: destroy.sh --yes. With --data too, the data disks, the Bigtable
# instance and the models, with every row in them.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh
case " $* " in
*' --yes '*) ;;
*) fail "takes down $stack in project $project; say destroy.sh --yes, and --data to delete all rows too" ;;
esac

! there scheduler jobs describe "$stack-training" --location "$region" ||
    gcloud scheduler jobs delete "$stack-training" --location "$region"
! there run jobs describe "$stack-training" --region "$region" ||
    gcloud run jobs delete "$stack-training" --region "$region"
for one in "$stack-train" "$stack-cron"; do
    ! there iam service-accounts describe "$(account_of "$one")" ||
        gcloud iam service-accounts delete "$(account_of "$one")"
done
existing=$(machines)
for machine in $existing; do
    say "$machine stores what it has and goes"
    gcloud compute instances stop "$machine" --zone "$zone"
    gcloud compute instances delete "$machine" --zone "$zone"
done
disks=$(gcloud compute disks list --filter="labels.stack=$stack AND zone:$zone" --format='value(name)')
case " $* " in
*' --data '*)
    for disk in $disks; do
        gcloud compute disks delete "$disk" --zone "$zone"
    done
    ! there bigtable instances describe "$stack" || gcloud bigtable instances delete "$stack"
    ! there storage buckets describe "gs://$project-$stack-models" ||
        gcloud storage rm --recursive "gs://$project-$stack-models"
    ;;
*) say "the disks stay, with all rows: ${disks:-none}; and a Bigtable instance and a bucket of models, if there were" ;;
esac
! there compute firewall-rules describe "$stack-ssh-through-iap" ||
    gcloud compute firewall-rules delete "$stack-ssh-through-iap"
! there compute networks subnets describe "$stack" --region "$region" ||
    gcloud compute networks subnets delete "$stack" --region "$region"
! there compute networks describe "$stack" || gcloud compute networks delete "$stack"
if there iam service-accounts describe "$account"; then
    for role in logging.logWriter monitoring.metricWriter; do
        gcloud projects remove-iam-policy-binding "$project" --member "serviceAccount:$account" --role "roles/$role" \
            --condition None >/dev/null || true
    done
    gcloud iam service-accounts delete "$account"
fi
! there artifacts repositories describe "$stack" --location "$region" ||
    gcloud artifacts repositories delete "$stack" --location "$region"
say "$stack is gone"
