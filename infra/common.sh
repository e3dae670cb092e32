# shellcheck shell=bash
# What the scripts of infra/aws and infra/gcloud share. Sourced.

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

say() {
    printf '%s\n' "$*"
}

[ "${BASH_VERSINFO[0]}" -ge 5 ] || fail "needs bash 5 or newer; on macOS: brew install bash"

need_tool() {
    command -v "$1" >/dev/null 2>&1 || fail "$1 is not installed; $2"
}

# environment_lines: the settings of the collector as lines of an environment file, indented as cloud-init wants them.
# They are read from `.env` if it is there, and from COLLECTOR_*, SYMBOL and the like in the environment; never secrets of
# a cloud, since the machine has an identity of its own.
environment_lines() {
    local variable short_names
    short_names=$(sed -n '/^KNOWN_NAMES/,/^}/s/.*: "\([A-Z0-9_]*\)",$/\1/p' collector/config.py)
    {
        # Without quotes and comments, which Docker would take for a part of the value.
        [ ! -f .env ] || sed -nE '/^(AWS_|GOOGLE_|COLLECTOR_DATA_DIR|DB_BACKEND)/d
            s/^([A-Z][A-Z0-9_]*)=(["'"'"'])(.*)\2[[:space:]]*(#.*)?$/\1=\3/p; t
            s/[[:space:]]+(#.*)?$//; s/^[A-Z][A-Z0-9_]*=.+$/&/p' .env
        while IFS= read -r variable; do
            case "$variable" in
            # The script says where rows go.
            COLLECTOR_DATA_DIR | DB_BACKEND | S3_* | BIGTABLE_*) ;;
            COLLECTOR_* | SHARD_*) printf '%s=%s\n' "$variable" "${!variable}" ;;
            *) ! grep -qx "$variable" <<<"$short_names" || printf '%s=%s\n' "$variable" "${!variable}" ;;
            esac
        done < <(compgen -e)
        printf '%s\n' "COLLECTOR_DATA_DIR=/data" "$@"
    } | sed '1!s/^/      /'
}

# render TEMPLATE NAME=VALUE...: the file with each ${NAME} replaced, as Terraform's templatefile does it.
render() {
    local text pair
    text=$(cat "$1")
    shift
    for pair in "$@"; do
        # Quoted, so that & and \ in a value mean themselves.
        text=${text//"\${${pair%%=*}}"/"${pair#*=}"}
    done
    printf '%s\n' "$text"
}
