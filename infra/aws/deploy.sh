#!/usr/bin/env bash
# Builds the image of this tree and pushes it, as `live` and under a tag of its own. A new machine takes it by itself;
# one that runs takes it at restart.sh or, without a hole, update.sh. --training pushes the image with training too.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infra/aws/settings.sh
source infra/aws/settings.sh
need_tool docker "the image is built here"

aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"
tag=$(date -u +%Y%m%d-%H%M%S)
docker build --platform linux/amd64 --target collector --tag "$registry/$stack:$tag" --tag "$registry/$stack:live" .
docker push "$registry/$stack:$tag"
docker push "$registry/$stack:live"
if [ "${1:-}" = --training ]; then
    docker build --platform linux/amd64 --target training --tag "$registry/$stack:training" \
        --build-arg "TORCH_INDEX=${TORCH_INDEX:-}" .
    docker push "$registry/$stack:training"
fi
say "Pushed $registry/$stack:$tag, which is live now"
