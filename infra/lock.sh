#!/usr/bin/env bash
# Makes the locks from pyproject.toml: infra/lock.sh PYTHON. With `--check` as second argument it only says whether they
# are what pyproject.toml gives. What is locked already stays as it is; to take newer versions, delete requirements.lock first.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?name a Python, or use ./run.sh lock}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
locks=(requirements.lock requirements-collector.lock requirements-training.lock)

uv=(uv)
if ! command -v uv >/dev/null 2>&1; then
    "$python" -m venv "$scratch/uv"
    "$scratch/uv/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.9'
    uv=("$scratch/uv/bin/uv")
fi

# compile LOCK ARGUMENTS...
compile() {
    local lock=$1
    shift
    [ ! -f "$lock" ] || cp "$lock" "$scratch/$lock"
    "${uv[@]}" pip compile pyproject.toml "$@" --no-header --no-annotate --generate-hashes \
        --python-version 3.11 --universal --quiet --output-file "$scratch/$lock" >/dev/null
}

# Everything, for `run.sh setup`; what goes into images is a part of it, at the same versions.
compile requirements.lock --extra s3 --extra bigtable --extra serve --extra client --extra tui --extra indicators \
    --extra plot --extra export --extra beam --extra dev
compile requirements-collector.lock --extra s3 --extra bigtable --extra serve --constraint "$scratch/requirements.lock"
compile requirements-training.lock --extra s3 --extra bigtable --extra serve --extra export \
    --constraint "$scratch/requirements.lock"

changed=0
for lock in "${locks[@]}"; do
    cmp --silent "$scratch/$lock" "$lock" && continue
    changed=1
    if [ "${2:-}" = --check ]; then
        printf '%s is not what pyproject.toml gives:\n' "$lock" >&2
        diff "$lock" "$scratch/$lock" >&2 || true
    else
        cp "$scratch/$lock" "$lock"
        printf 'made %s anew\n' "$lock"
    fi
done
[ "$changed" = 1 ] || printf 'the locks are what pyproject.toml gives\n'
[ "${2:-}" != --check ] || exit "$changed"
