# shellcheck shell=bash
# Settings and pieces of the Google Cloud scripts. Sourced, in the root of the repository.
#
#   PROJECT_ID        the project; or as `gcloud config set project` has it
#   ZONE              [asia-southeast1-b, in Singapore, near to exchanges]; e2-micro is free in us-west1, us-central1, us-east1
#   STACK             name of everything that is made  [depth-collector]
#   MACHINE_TYPE      [e2-micro]
#   BACKEND           local: Parquet on the data disk; or bigtable, whose node costs some hundreds of USD a month  [local]
#   DATA_GB           size of the data disk  [20]
#   SSH_THROUGH_IAP   yes opens SSH to Google's Identity-Aware Proxy, which asks who you are; else no port is open at all

# shellcheck source=infra/common.sh
source infra/common.sh
need_tool gcloud "see 'Install the gcloud CLI' in Google Cloud's documentation"

stack=${STACK:-depth-collector}
machine_type=${MACHINE_TYPE:-e2-micro}
backend=${BACKEND:-local}
data_gb=${DATA_GB:-20}
zone=${ZONE:-asia-southeast1-b}
region=${zone%-*}
project=${PROJECT_ID:-$(gcloud config get-value project 2>/dev/null || true)}
[ -n "$project" ] && [ "$project" != '(unset)' ] ||
    fail "no project; set PROJECT_ID to the id of one with billing ('gcloud projects list' shows yours)"
case "$backend" in local | bigtable) ;; *) fail "BACKEND is local or bigtable, not '$backend'" ;; esac
export CLOUDSDK_CORE_PROJECT=$project CLOUDSDK_CORE_DISABLE_PROMPTS=1
registry=$region-docker.pkg.dev
repository=$registry/$project/$stack

account_of() {
    printf '%s@%s.iam.gserviceaccount.com' "$1" "$project"
}
account=$(account_of "$stack")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Else a login that has run out would look like a project in which nothing is there.
gcloud projects describe "$project" >/dev/null 2>"$scratch/error" ||
    fail "project $project cannot be seen; 'gcloud auth login' logs you in, 'gcloud projects list' shows your projects." \
        "$(cat "$scratch/error")"

# there COMMAND...: is what `gcloud COMMAND` describes there? An answer other than yes or no ends the script.
there() {
    ! gcloud "$@" >/dev/null 2>"$scratch/error" || return 0
    grep -qiE 'not[ _]found|404|cannot find|may not exist|not enabled|not been used' "$scratch/error" ||
        fail "gcloud $*: $(cat "$scratch/error")"
    return 1
}

# grant COMMAND...: gives a right. An account that was just made is not known everywhere for some seconds, so this waits.
grant() {
    local waited=0
    until gcloud "$@" >/dev/null 2>"$scratch/error"; do
        grep -q 'does not exist' "$scratch/error" && [ "$waited" -lt 120 ] || fail "$(cat "$scratch/error")"
        sleep 5
        waited=$((waited + 5))
    done
}

# Machines of this stack: the first one, or after an update its successor.
machines() {
    gcloud compute instances list --filter="labels.stack=$stack AND zone:$zone" --sort-by=creationTimestamp \
        --format='value(name)'
}

# user_data TAG: the machine's cloud-init, into $scratch/user-data.
user_data() {
    local bigtable=()
    [ "$backend" = local ] || bigtable=("BIGTABLE_PROJECT_ID=$project" "BIGTABLE_INSTANCE_ID=$stack")
    render infra/cloud-init/gcp.yaml "image=$repository/collector:$1" "registry=$registry" \
        "environment=$(environment_lines "DB_BACKEND=$backend" ${bigtable[@]+"${bigtable[@]}"})" >"$scratch/user-data"
}

# launch NAME TAG: a machine with a data disk of its own, which runs that image.
launch() {
    if ! there compute disks describe "$1-data" --zone "$zone"; then
        gcloud compute disks create "$1-data" --zone "$zone" --type pd-standard --size "${data_gb}GB" \
            --labels "stack=$stack"
    fi
    there compute instances describe "$1" --zone "$zone" && return
    user_data "$2"
    gcloud compute instances create "$1" --zone "$zone" --machine-type "$machine_type" --labels "stack=$stack" \
        --image-family cos-stable --image-project cos-cloud --boot-disk-size 10GB --boot-disk-type pd-standard \
        --disk "name=$1-data,device-name=collector-data,mode=rw,auto-delete=no" \
        --subnet "$stack" --network-tier STANDARD --tags "$stack" \
        --service-account "$account" --scopes cloud-platform \
        --shielded-secure-boot --shielded-vtpm --shielded-integrity-monitoring \
        --metadata google-logging-enabled=true,google-monitoring-enabled=true,enable-oslogin=true,block-project-ssh-keys=true \
        --metadata-from-file "user-data=$scratch/user-data"
}

# logged MACHINE TEXT: has it written a line with TEXT since it was made?
logged() {
    local found
    found=$(gcloud logging read --limit 1 --freshness 1h --format 'value(insertId)' \
        "logName=\"projects/$project/logs/gcplogs-docker-driver\" AND jsonPayload.instance.name=\"$1\" AND jsonPayload.message:\"$2\"")
    [ -n "$found" ]
}
