#!/bin/sh
# Exports one market's last days and trains on them; the job of AWS Batch, Cloud Run, a timer, or cron:
#   30 0 * * *  JOB_SYMBOL=BTCUSDT COLLECTOR_DATA_DIR=/srv/data /opt/depth-collector/infra/batch/export_and_train.sh
# The store is named by the same variables as everywhere: DB_BACKEND, COLLECTOR_DATA_DIR, S3_BUCKET, BIGTABLE_INSTANCE_ID, …
#
#   JOB_SYMBOL    the market, such as BTCUSDT
#   JOB_EXCHANGE  where the store has that symbol of several exchanges
#   JOB_DATASET   depth, book or features  [depth]
#   JOB_DAYS      how far back  [30]
#   JOB_TARGETS   columns to forecast  [price]
#   JOB_WORK      folder for what is in between  [/tmp/collector-job]
#   JOB_RESULTS   where the models go: a folder, or s3://BUCKET/FOLDER  [models]
#   JOB_PYTHON    [that of .venv, or python3]
#   JOB_TRAIN     further options of `training train`, such as --epochs 5
set -eu
: "${JOB_SYMBOL:?name the market, such as BTCUSDT}"
dataset=${JOB_DATASET:-depth}
work=${JOB_WORK:-/tmp/collector-job}
results=${JOB_RESULTS:-models}
# In the image there is no .venv: its own Python has it all. Neither cron nor a timer starts this in the repository.
python=${JOB_PYTHON:-$(dirname "$(realpath "$0")")/../../.venv/bin/python}
[ -x "$python" ] || python=python3
day=$(date -u +%Y-%m-%d)
start=$(date -u -d "$day - ${JOB_DAYS:-30} days" +%Y-%m-%dT00:00:00Z)
case "$results" in
s3://*) models=$work/models/$day ;;
*) models=$results/$day ;;
esac
mkdir -p "$work" "$models"

# Whole days only, so that a second run of the same day finds its work done.
"$python" -m training export --dataset "$dataset" ${JOB_EXCHANGE:+--exchange "$JOB_EXCHANGE"} --symbol "$JOB_SYMBOL" \
    --from "$start" --to "${day}T00:00:00Z" --format memmap --targets "${JOB_TARGETS:-price}" \
    --output "$work/$dataset-$JOB_SYMBOL-$day" --no-progress
# shellcheck disable=SC2086 # JOB_TRAIN is several options
"$python" -m training train --dataset "$work/$dataset-$JOB_SYMBOL-$day/memmap" --targets "${JOB_TARGETS:-price}" \
    --output-dir "$models" --no-progress ${JOB_TRAIN:-}

case "$results" in
s3://*)
    "$python" - "$models" "$results/$day" <<'PYTHON'
import pathlib
import sys

import boto3

folder, (bucket, _, prefix) = pathlib.Path(sys.argv[1]), sys.argv[2].removeprefix("s3://").partition("/")
client = boto3.client("s3")
for path in sorted(folder.rglob("*")):
    if path.is_file():
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
PYTHON
    ;;
esac
# Of yesterday's export nothing is needed any more.
find "$work" -mindepth 1 -maxdepth 1 -not -name "*-$day" -not -name models -exec rm -rf {} +
printf 'models of %s are in %s/%s\n' "$JOB_SYMBOL" "$results" "$day"
