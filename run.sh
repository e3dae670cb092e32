#!/usr/bin/env bash
# One door to the project: set up, try, test, run. `./run.sh help` lists the commands.
set -euo pipefail
cd "$(dirname "$0")"

venv=.venv
python=$venv/bin/python
stamp=$venv/.locked

usage() {
    cat <<'TEXT'
./run.sh setup             make .venv with everything, from the lock
./run.sh demo              collect from a simulated exchange, verify, replay, train on two markets; no network
./run.sh test [ARGS]       the whole suite (ARGS go to pytest)
./run.sh soak [ARGS]       the long fault tests
./run.sh train [OPTIONS]   train a model; `./run.sh training` has the other commands of a model's life
./run.sh local [OPTIONS]   the collector in .venv; the options of `collector run`, or any other command
./run.sh lock [--check]    make the locks of requirements anew from pyproject.toml; or only say whether they are right
./run.sh audit [FILE]      known faults of what is locked, and a list of it all (SBOM, CycloneDX) into FILE
./run.sh infra-check       Terraform and cloud scripts against local stand-ins; ten minutes or more

./run.sh [OPTIONS]         the collector in a container that starts again by itself; the options of `collector run`
./run.sh status            is it running, is it healthy, what does it use
./run.sh logs [ARGS]       follow its lines (ARGS go to docker logs)
./run.sh stop              store what was collected, and stop
./run.sh exec COMMAND      another command of the collector in the running container: verify, gaps, stats, …
                           docs/container.md lists the settings: DEPTH_COLLECTOR_NAME, DEPTH_COLLECTOR_MEMORY, DEPTH_COLLECTOR_DATA, …
TEXT
}

fail() {
    printf 'run.sh: %s\n' "$*" >&2
    exit 2
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found; install one, or name it: PYTHON=/path/to/python ./run.sh setup"
}

# The stamp holds what was installed, so that only a changed lock or project installs again.
setup() {
    local base wanted
    wanted=$(cat requirements.lock pyproject.toml | cksum)
    if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    if ! "$python" -c '' 2>/dev/null; then
        base=$(find_python)
        printf 'Making %s with %s\n' "$venv" "$("$base" --version)"
        "$base" -m venv --clear "$venv"
    fi
    printf 'Installing what requirements.lock names, and torch; this takes a minute or two the first time\n'
    install --require-hashes -r requirements.lock
    # torch stays outside the hashed lock: its builds differ by machine under one version.
    install "torch==2.13.0"
    install --no-deps --no-build-isolation --editable .
    printf '%s' "$wanted" >"$stamp"
}

install() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-input "$@" ||
        fail "could not install '$*' into $venv; see the lines above"
}

command=${1:-}
case "$command" in
setup) setup ;;
demo)
    setup
    shift
    "$python" -m collector demo "$@"
    exec "$python" -m training demo
    ;;
test)
    setup
    shift
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    # More processes than cores: the live tests wait for most of their time.
    exec "$python" -m pytest -n 4 --dist worksteal "$@"
    ;;
soak)
    setup
    shift
    # The suite's guard against hanging tests would take an hour's work for one.
    exec "$python" -m pytest -m soak -o faulthandler_timeout=0 "$@"
    ;;
infra-check)
    setup
    shift
    # A file's tests share a server or a tool that is fetched; the files do not.
    exec "$python" -m pytest tests/infra -m 'infra or not infra' -n 3 --dist loadfile -o faulthandler_timeout=0 "$@"
    ;;
audit)
    setup
    shift
    exec infra/audit.sh "$python" "$@"
    ;;
train)
    setup
    shift
    exec "$python" -m training train "$@"
    ;;
training)
    setup
    shift
    exec "$python" -m training "$@"
    ;;
local)
    setup
    shift
    exec "$python" -m collector "$@"
    ;;
lock)
    shift
    base=$(find_python)
    exec infra/lock.sh "$base" "$@"
    ;;
help | -h | --help) usage ;;
'' | -* | run | status | logs | stop | exec)
    # shellcheck source=infra/container.sh
    source infra/container.sh
    case "$command" in
    status | logs | stop | exec)
        shift
        "container_$command" "$@"
        ;;
    run)
        shift
        container_run "$@"
        ;;
    *) container_run "$@" ;;
    esac
    ;;
*)
    usage >&2
    fail "unknown command '$command'"
    ;;
esac
