#!/usr/bin/env bash
# infra/audit.sh PYTHON [FILE]: looks up every version of the locks for known faults, and writes what is in the collector's
# image as a CycloneDX list (SBOM) into FILE  [build/sbom.json]. Exit code 1 when a fault is known; 3 when the database did
# not answer for each package: what was not audited is not called good.
#
#   AUDIT_OSV_URL   a database that answers as OSV's `v1/query` does, instead of PyPI's own
#
# pip-audit comes into an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?name a Python, or use ./run.sh audit}
sbom=${2:-build/sbom.json}
tools=.cache/audit
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ ! -e "$tools/complete" ]; then
    rm -rf "$tools"
    "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check pip-audit cyclonedx-bom
    touch "$tools/complete"
fi
mkdir -p "$(dirname "$sbom")"
"$tools/bin/cyclonedx-py" requirements requirements-collector.lock --pyproject pyproject.toml \
    --output-reproducible --of JSON --output-file "$sbom"
printf 'wrote %s\n' "$sbom"

database=(--vulnerability-service pypi)
[ -z "${AUDIT_OSV_URL:-}" ] || database=(--vulnerability-service osv --osv-url "$AUDIT_OSV_URL")
code=0

# audit LOCK OPTIONS...
audit() {
    printf '%s: ' "$(basename "$1" .txt)"
    if "$tools/bin/pip-audit" "${database[@]}" --strict --disable-pip --progress-spinner off --output "$scratch/found" \
        --requirement "$1" "${@:2}" >"$scratch/said" 2>&1; then
        printf 'no known faults\n'
    elif [ -s "$scratch/found" ]; then
        printf 'known faults:\n'
        cat "$scratch/found"
        rm "$scratch/found"
        [ "$code" != 0 ] || code=1
    else
        printf 'NOT AUDITED\n%s\n' "$(tail -n 1 "$scratch/said")"
        code=3
    fi
}

audit requirements-collector.lock --require-hashes
audit requirements.lock --require-hashes
# The one package that stands in no lock.
sed -n 's/.*install "\(torch==[0-9.]*\)".*/\1/p' run.sh >"$scratch/torch.txt"
audit "$scratch/torch.txt" --no-deps
if [ "$code" = 3 ]; then
    printf 'audit: the database of known faults could not be asked, so this says nothing of the packages. It needs the\n' >&2
    printf 'network, and an index other than a mirror, which seldom has the faults. Another database:\n' >&2
    printf '    AUDIT_OSV_URL=https://api.osv.dev/v1/query ./run.sh audit\n' >&2
fi
exit "$code"
