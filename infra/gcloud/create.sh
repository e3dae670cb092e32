#!/usr/bin/env bash
# Makes everything on Google Cloud: registry, rights, network, with BACKEND=bigtable an instance with its tables, and the
# machine. What is there stays. See settings.sh. The machine waits for an image, which deploy.sh pushes.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh

say "Project $project, zone $zone, everything is named $stack"
services=(compute artifactregistry iam logging monitoring)
[ "$backend" = local ] || services+=(bigtable bigtableadmin)
gcloud services enable "${services[@]/%/.googleapis.com}"

say "Registry $repository"
there artifacts repositories describe "$stack" --location "$region" ||
    gcloud artifacts repositories create "$stack" --location "$region" --repository-format docker

say "Rights"
there iam service-accounts describe "$account" ||
    gcloud iam service-accounts create "$stack" --display-name "Depth collector"
for role in logging.logWriter monitoring.metricWriter; do
    grant projects add-iam-policy-binding "$project" --member "serviceAccount:$account" --role "roles/$role" \
        --condition None
done
grant artifacts repositories add-iam-policy-binding "$stack" --location "$region" \
    --member "serviceAccount:$account" --role roles/artifactregistry.reader

if [ "$backend" = bigtable ]; then
    say "Bigtable instance $stack, one node"
    there bigtable instances describe "$stack" ||
        gcloud bigtable instances create "$stack" --display-name "Depth collector" \
            --cluster-config "id=$stack-1,zone=$zone,nodes=1"
    there bigtable instances tables describe market_data --instance "$stack" ||
        gcloud bigtable instances tables create market_data --instance "$stack" \
            --column-families 'data:maxversions=1,index:maxversions=1'
    there bigtable instances tables describe binance_btc_depth --instance "$stack" ||
        gcloud bigtable instances tables create binance_btc_depth --instance "$stack" \
            --column-families 'data:maxversions=1'
    grant bigtable instances add-iam-policy-binding "$stack" \
        --member "serviceAccount:$account" --role roles/bigtable.user
fi

say "Network, without a way in but SSH_THROUGH_IAP=yes"
there compute networks describe "$stack" || gcloud compute networks create "$stack" --subnet-mode custom
there compute networks subnets describe "$stack" --region "$region" ||
    gcloud compute networks subnets create "$stack" --network "$stack" --region "$region" --range 10.40.0.0/24 \
        --enable-private-ip-google-access
if [ "${SSH_THROUGH_IAP:-}" = yes ]; then
    gcloud services enable iap.googleapis.com
    there compute firewall-rules describe "$stack-ssh-through-iap" ||
        gcloud compute firewall-rules create "$stack-ssh-through-iap" --network "$stack" --allow tcp:22 \
            --source-ranges 35.235.240.0/20 --target-tags "$stack"
fi

say "Machine: $machine_type with $data_gb GB"
existing=$(machines)
if [ -z "$existing" ]; then
    launch "$stack" live
    existing=$stack
fi
say "Machine ${existing%%$'\n'*}"
say "Next: infra/gcloud/deploy.sh builds and pushes the image; the machine takes it within a minute"
