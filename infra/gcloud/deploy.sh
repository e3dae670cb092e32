#!/usr/bin/env bash
# Builds the image of this tree and pushes it, as `live` and under a tag of its own. A new machine takes it by itself;
# one that runs takes it at restart.sh or, without a hole, update.sh. --training pushes the image with training too.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/gcloud/settings.sh
source infra/gcloud/settings.sh
need_tool docker "the image is built here"

gcloud auth configure-docker "$registry" --quiet
tag=$(date -u +%Y%m%d-%H%M%S)
push() {
    docker build --platform linux/amd64 --target "$1" --tag "$repository/$1:$tag" --tag "$repository/$1:live" "${@:2}" .
    docker push "$repository/$1:$tag"
    docker push "$repository/$1:live"
}
push collector
[ "${1:-}" != --training ] || push training --build-arg "TORCH_INDEX=${TORCH_INDEX:-}"
say "Pushed $repository/collector:$tag, which is live now"
