#!/usr/bin/env bash
# infra/audit.sh PYTHON [FILE]: looks up every version of the locks for known faults, and writes what is in the collector's
# image as a CycloneDX list (SBOM) into FILE  [build/sbom.json]. Exit code 1 when a fault is known, or a package could not be
# looked up: what was not audited is not called good.
# pip-audit comes into an environment of its own; it asks a public database, so this needs the network.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?name a Python}
sbom=${2:-build/sbom.json}
tools=.cache/audit

if [ ! -x "$tools/bin/pip-audit" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check pip-audit cyclonedx-bom
fi
mkdir -p "$(dirname "$sbom")"
"$tools/bin/cyclonedx-py" requirements requirements-collector.lock --pyproject pyproject.toml \
    --output-reproducible --of JSON --output-file "$sbom"
printf 'wrote %s\n' "$sbom"
code=0
for lock in requirements-collector.lock requirements.lock; do
    printf '%s:\n' "$lock"
    "$tools/bin/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off --requirement "$lock" || code=1
done
exit "$code"
