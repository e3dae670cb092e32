# shellcheck shell=bash
# The collector in a container: what `run.sh` does for `[OPTIONS]`, status, logs, stop and exec. Sourced, in the root of
# the repository, by a script that has `fail`. docs/container.md lists the settings.

name=${DEPTH_COLLECTOR_NAME:-collector}
image=${DEPTH_COLLECTOR_IMAGE:-}
memory=${DEPTH_COLLECTOR_MEMORY:-1g}
cpus=${DEPTH_COLLECTOR_CPUS:-1}
data=${DEPTH_COLLECTOR_DATA:-collector-data}
network=${DEPTH_COLLECTOR_NETWORK:-}
base=${DEPTH_COLLECTOR_BASE:-}
# `run` drains for at most 20 s and ends within 30.
stop_s=40
first_lines_s=${DEPTH_COLLECTOR_FIRST_LINES_S:-20}
key_file=/run/collector/google.json
config_file=/run/collector/config.yaml

# Everything that a build reads, so that a changed file is a new tag, and an unchanged tree builds nothing.
_sources=(Dockerfile .dockerignore requirements-collector.lock collector storage_backends)

_need_docker() {
    if ! command -v docker >/dev/null 2>&1; then
        fail "Docker is not installed. Install Docker Engine (on Debian and Ubuntu: sudo apt-get install docker.io)," \
            "or run the collector without a container: ./run.sh local ${*:-run}"
    fi
    local answer
    if ! answer=$(docker version --format '{{.Server.Version}}' 2>&1); then
        fail "Docker does not answer: ${answer//$'\n'/ }. Start it (sudo systemctl start docker), or let your user reach" \
            "it (sudo usermod -aG docker \"\$USER\", then log in again)"
    fi
}

_exists() {
    docker container inspect "$name" >/dev/null 2>&1
}

_need_container() {
    _exists || fail "there is no container '$name'; start one with ./run.sh [options of run], or set DEPTH_COLLECTOR_NAME"
}

# Sets `image`, and builds it unless that very tree has been built.
_build() {
    [ -z "$image" ] || return 0
    local tag
    tag=$(find "${_sources[@]}" -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 cksum | cksum)
    image=depth-collector:${tag%% *}
    if docker image inspect "$image" >/dev/null 2>&1; then
        return
    fi
    printf 'Building %s; this takes some minutes the first time\n' "$image"
    local arguments=(build --quiet --target collector --tag "$image" --tag depth-collector:latest)
    [ -z "$base" ] || arguments+=(--build-arg "BASE=$base")
    [ -z "$network" ] || arguments+=(--network "$network")
    docker "${arguments[@]}" . >/dev/null || fail "the image could not be built; see the lines above"
}

# Fills `settings` with arguments of `docker run`: .env first, then the environment, which is stronger, then what a
# container fixes.
_environment() {
    local variable short_names
    # Options that also have a name without prefix.
    short_names=$(sed -n '/^KNOWN_NAMES/,/^}/s/.*: "\([A-Z0-9_]*\)",$/\1/p' collector/config.py)
    settings=()
    if [ -f .env ]; then
        # Docker reads such files by other rules (quotes, comments) than the collector, so the image reads it.
        docker run --rm --interactive --network none --read-only --entrypoint python3 "$image" \
            -m dotenv --file /dev/stdin list --format simple <.env >"$scratch/env" ||
            fail ".env could not be read; see the lines above"
        settings+=(--env-file "$scratch/env")
        : "${GOOGLE_APPLICATION_CREDENTIALS:=$(_of_env_file GOOGLE_APPLICATION_CREDENTIALS)}"
        : "${COLLECTOR_CONFIG:=$(_of_env_file COLLECTOR_CONFIG)}"
    fi
    while IFS= read -r variable; do
        case "$variable" in
        COLLECTOR_CONFIG | COLLECTOR_DATA_DIR | GOOGLE_APPLICATION_CREDENTIALS) ;;
        AWS_CA_BUNDLE | AWS_CONFIG_FILE | AWS_SHARED_CREDENTIALS_FILE | AWS_WEB_IDENTITY_TOKEN_FILE)
            printf 'run.sh: %s is not passed on: it names a file of this machine\n' "$variable" >&2
            ;;
        COLLECTOR_* | BIGTABLE_* | AWS_* | S3_* | GOOGLE_* | GCP_* | SHARD_* | TZ | HTTP_PROXY | HTTPS_PROXY | NO_PROXY)
            settings+=(--env "$variable")
            ;;
        *) ! grep -qx "$variable" <<<"$short_names" || settings+=(--env "$variable") ;;
        esac
    done < <(compgen -e)
    settings+=(--env COLLECTOR_DATA_DIR=/data)
    if [ -n "${GOOGLE_APPLICATION_CREDENTIALS:-}" ]; then
        _mount "$GOOGLE_APPLICATION_CREDENTIALS" "$key_file" GOOGLE_APPLICATION_CREDENTIALS
        settings+=(--env "GOOGLE_APPLICATION_CREDENTIALS=$key_file")
    fi
}

_of_env_file() {
    sed -n "s/^$1=//p" "$scratch/env"
}

# Mounts a file of this machine read-only: path here, path there, the setting that named it.
_mount() {
    [ -f "$1" ] || fail "$3: $1 is not a file"
    settings+=(--mount "type=bind,source=$(realpath "$1"),target=$2,readonly")
    mounted+=("$2" "$1" "$3")
}

# Takes apart the options of `run`: those that name a place on this machine mean another one in the container.
_options() {
    local config=${COLLECTOR_CONFIG:-}
    options=()
    while [ $# -gt 0 ]; do
        case "$1" in
        --data-dir | --data-dir=*)
            fail "--data-dir is /data in the container; to choose the volume or folder behind it set DEPTH_COLLECTOR_DATA"
            ;;
        --config)
            config=${2:-}
            [ -n "$config" ] || fail "--config: name a file"
            shift
            ;;
        --config=*) config=${1#--config=} ;;
        --dry-run | --no-storage)
            options+=("$1")
            # The health check sees no options: by this it knows where a dry run has its heartbeat.
            settings+=(--env COLLECTOR_DRY_RUN=true)
            ;;
        *) options+=("$1") ;;
        esac
        shift
    done
    if [ -n "$config" ]; then
        _mount "$config" "$config_file" --config
        settings+=(--env "COLLECTOR_CONFIG=$config_file")
    fi
}

# Before the old container is touched: are the settings good, may the container's user read and write what it must?
_check() {
    docker run --rm --network none "${limits[@]}" "${settings[@]}" "$image" run --check ${options[@]+"${options[@]}"} ||
        fail "nothing was started or stopped"
    docker run --rm --network none "${limits[@]}" "${settings[@]}" --entrypoint test "$image" -w /data ||
        fail "DEPTH_COLLECTOR_DATA: $data cannot be written to by the container's user; sudo chown 10001:10001 '$data'"
    local index
    for ((index = 0; index < ${#mounted[@]}; index += 3)); do
        docker run --rm --network none "${limits[@]}" "${settings[@]}" \
            --entrypoint test "$image" -r "${mounted[index]}" ||
            fail "${mounted[index + 2]}: ${mounted[index + 1]} cannot be read by the container's user;" \
                "sudo setfacl --modify u:10001:r '${mounted[index + 1]}'"
    done
}

container_run() {
    local settings=() options=() mounted=() scratch
    local limits=(--memory "$memory" --cpus "$cpus" --read-only --tmpfs "/tmp:size=64m" --cap-drop ALL
        --security-opt no-new-privileges --pids-limit 256 --stop-timeout "$stop_s")
    _need_docker run "$@"
    case "$data" in
    /* | ./* | ../*)
        mkdir -p "$data"
        limits+=(--mount "type=bind,source=$(realpath "$data"),target=/data")
        ;;
    *) limits+=(--mount "type=volume,source=$data,target=/data") ;;
    esac
    scratch=$(umask 077 && mktemp -d)
    # shellcheck disable=SC2064 # the folder of now, not of then
    trap "rm -rf '$scratch'" EXIT
    _build
    _environment
    _options "$@"
    _check
    if _exists; then
        printf 'Replacing the container %s: it stores what it has collected and stops\n' "$name"
        docker stop --time "$stop_s" "$name" >/dev/null
        docker rm "$name" >/dev/null
    fi
    [ -z "$network" ] || limits+=(--network "$network")
    docker run --detach --name "$name" --restart=unless-stopped \
        --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
        "${limits[@]}" "${settings[@]}" "$image" run ${options[@]+"${options[@]}"} >/dev/null ||
        fail "the container could not be started; see the lines above"
    printf 'Started %s from %s, with %s of memory and %s CPU; data in %s\n' "$name" "$image" "$memory" "$cpus" "$data"
    _first_lines
}

# Shows the log until there is a line of a market, for a while.
_first_lines() {
    local waited=0 lines=''
    while [ "$waited" -lt "$first_lines_s" ]; do
        lines=$(docker logs "$name" 2>&1 || true)
        case "$lines" in *'epoch:'* | *'markets valid'*) break ;; esac
        sleep 1
        waited=$((waited + 1))
    done
    printf '%s\n' "$lines" | tail -n 8
    printf '\nFollow it: ./run.sh logs     See how it is: ./run.sh status     Stop it: ./run.sh stop\n'
    if [ "$(docker container inspect --format '{{.RestartCount}}' "$name" 2>/dev/null)" != 0 ]; then
        printf 'run.sh: %s does not stay up; the lines above say why\n' "$name" >&2
        return 1
    fi
}

container_status() {
    _need_docker
    _need_container
    docker ps --all --filter "name=^/$name\$" --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}'
    docker stats --no-stream --format 'CPU {{.CPUPerc}}, memory {{.MemUsage}}, network {{.NetIO}}, disk {{.BlockIO}}' "$name"
    docker logs --tail 3 "$name" 2>&1
    [ "$(docker container inspect --format '{{.State.Running}}' "$name")" = true ]
}

container_logs() {
    _need_docker
    _need_container
    [ $# -gt 0 ] || set -- --follow --tail 50
    exec docker logs "$@" "$name"
}

container_exec() {
    _need_docker
    _need_container
    [ $# -gt 0 ] || fail "exec: name a command of the collector, such as verify or gaps"
    local terminal=()
    [ ! -t 0 ] || [ ! -t 1 ] || terminal=(--interactive --tty)
    exec docker exec ${terminal[@]+"${terminal[@]}"} "$name" python3 -m collector "$@"
}

container_stop() {
    _need_docker
    _need_container
    docker stop --time "$stop_s" "$name" >/dev/null
    docker logs --tail 1 "$name" 2>&1
    local code
    code=$(docker container inspect --format '{{.State.ExitCode}}' "$name")
    printf 'Stopped %s with exit code %s; it stays stopped until the next ./run.sh, which goes on in %s\n' \
        "$name" "$code" "$data"
    return "$code"
}
