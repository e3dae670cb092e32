# shellcheck shell=bash
# Settings and pieces of the AWS scripts. Sourced, in the root of the repository.
#
#   AWS_REGION        the region; or as `aws configure` has it
#   STACK             name of everything that is made  [depth-collector]
#   INSTANCE_TYPE     [t3.micro]
#   DATA_GB           size of the volume of journal and spool  [20]
#   SUBNET_ID         where the machine goes  [one of the default VPC, in a zone that has the type]
#   SSH_KEY, SSH_FROM name of a key pair and an address range that may use SSH; without both no port is open

# shellcheck source=infra/common.sh
source infra/common.sh
need_tool aws "see 'Installing the AWS CLI' in AWS's documentation"

stack=${STACK:-depth-collector}
type=${INSTANCE_TYPE:-t3.micro}
data_gb=${DATA_GB:-20}
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[ -n "$region" ] || fail "no region; set AWS_REGION, for instance ap-northeast-1 (Tokyo, near to Binance)"
export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
account=$(aws sts get-caller-identity --query Account --output text) ||
    fail "AWS does not know you; run 'aws configure', or set AWS_PROFILE"
bucket=$stack-$account-$region
registry=$account.dkr.ecr.$region.amazonaws.com
log_group=/$stack
job=$stack-training
new_roles=0

# role NAME SERVICE: a role that this service may take, made if it is not there.
role() {
    ! aws iam get-role --role-name "$1" >/dev/null 2>&1 || return 0
    aws iam create-role --role-name "$1" --assume-role-policy-document '{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "'"$2"'"}, "Action": "sts:AssumeRole"}]}' >/dev/null
    new_roles=$((new_roles + 1))
}

# remove_role NAME: with all its rights, if it is there.
remove_role() {
    local policy
    aws iam get-role --role-name "$1" >/dev/null 2>&1 || return 0
    for policy in $(aws iam list-attached-role-policies --role-name "$1" \
        --query 'AttachedPolicies[].PolicyArn' --output text); do
        aws iam detach-role-policy --role-name "$1" --policy-arn "$policy"
    done
    for policy in $(aws iam list-role-policies --role-name "$1" --query 'PolicyNames' --output text); do
        aws iam delete-role-policy --role-name "$1" --policy-name "$policy"
    done
    aws iam delete-role --role-name "$1"
}

# Machines of this stack that are not gone, oldest first.
instances() {
    aws ec2 describe-instances \
        --filters "Name=tag:stack,Values=$stack" "Name=instance-state-name,Values=pending,running,stopping,stopped" \
        --query 'sort_by(Reservations[].Instances[], &LaunchTime)[].InstanceId' --output text | tr '\t' '\n'
}

of_instance() {
    aws ec2 describe-instances --instance-ids "$1" --query "Reservations[0].Instances[0].$2" --output text
}

subnet() {
    if [ -n "${SUBNET_ID:-}" ]; then
        printf '%s' "$SUBNET_ID"
        return
    fi
    local zones found
    zones=$(aws ec2 describe-instance-type-offerings --location-type availability-zone \
        --filters "Name=instance-type,Values=$type" --query 'InstanceTypeOfferings[].Location' --output text | tr '\t' ',')
    found=$(aws ec2 describe-subnets --filters Name=default-for-az,Values=true "Name=availability-zone,Values=$zones" \
        --query 'Subnets[0].SubnetId' --output text)
    [ "$found" != None ] ||
        fail "there is no default VPC with $type in $region; make one (aws ec2 create-default-vpc) or set SUBNET_ID"
    printf '%s' "$found"
}

# launch TAG: a machine with a data volume of its own, which runs that image; prints its id.
launch() {
    local place zone volume machine_image group instance key=()
    place=$(subnet)
    zone=$(aws ec2 describe-subnets --subnet-ids "$place" --query 'Subnets[0].AvailabilityZone' --output text)
    volume=$(aws ec2 create-volume --availability-zone "$zone" --size "$data_gb" --volume-type gp3 --encrypted \
        --tag-specifications "ResourceType=volume,Tags=[{Key=Name,Value=$stack-data},{Key=stack,Value=$stack}]" \
        --query VolumeId --output text)
    machine_image=$(aws ssm get-parameter --query Parameter.Value --output text \
        --name /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64)
    group=$(aws ec2 describe-security-groups --filters "Name=group-name,Values=$stack" \
        --query 'SecurityGroups[0].GroupId' --output text)
    [ -z "${SSH_KEY:-}" ] || key=(--key-name "$SSH_KEY")
    render infra/cloud-init/aws.yaml "image=$registry/$stack:$1" "registry=$registry" "region=$region" \
        "volume_id=$volume" "log_group=$log_group" \
        "environment=$(environment_lines DB_BACKEND=s3 "S3_BUCKET=$bucket" "S3_REGION=$region")" >"$scratch/user-data"
    instance=$(aws ec2 run-instances --image-id "$machine_image" --instance-type "$type" --subnet-id "$place" \
        --security-group-ids "$group" --iam-instance-profile "Name=$stack" ${key[@]+"${key[@]}"} \
        --metadata-options HttpEndpoint=enabled,HttpTokens=required,HttpPutResponseHopLimit=2 \
        --credit-specification CpuCredits=standard \
        --block-device-mappings 'DeviceName=/dev/xvda,Ebs={VolumeSize=10,VolumeType=gp3,Encrypted=true}' \
        --user-data "file://$scratch/user-data" \
        --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$stack},{Key=stack,Value=$stack}]" \
        --query 'Instances[0].InstanceId' --output text)
    aws ec2 wait instance-running --instance-ids "$instance"
    aws ec2 attach-volume --volume-id "$volume" --instance-id "$instance" --device /dev/sdf >/dev/null
    printf '%s' "$instance"
}

# The volume of a machine's journal and spool.
data_volume() {
    aws ec2 describe-volumes --filters "Name=tag:stack,Values=$stack" "Name=attachment.instance-id,Values=$1" \
        --query 'Volumes[0].VolumeId' --output text
}

# logged INSTANCE TEXT: has it written a line with TEXT?
logged() {
    local found
    found=$(aws logs filter-log-events --log-group-name "$log_group" --log-stream-names "$(of_instance "$1" PrivateDnsName)" \
        --filter-pattern "\"$2\"" --query 'length(events)' --output text 2>/dev/null) || return 1
    [ "${found:-0}" -gt 0 ]
}

# environments FIELD, queues FIELD: of the nightly job's compute environment and queue; nothing where there is none.
environments() {
    aws batch describe-compute-environments --compute-environments "$job" --output text \
        --query "computeEnvironments[?status!='DELETED'].$1"
}

queues() {
    aws batch describe-job-queues --job-queues "$job" --output text --query "jobQueues[?status!='DELETED'].$1"
}

# The revisions of the nightly job that may run.
definitions() {
    aws batch describe-job-definitions --job-definition-name "$job" --status ACTIVE \
        --query 'jobDefinitions[].jobDefinitionArn' --output text
}

# variable NAME VALUE: as a container's environment is written in JSON.
variable() {
    local slash=\\ quote=\" value
    value=${2//"$slash"/"$slash$slash"}
    printf '{"name": "%s", "value": "%s"}' "$1" "${value//"$quote"/"$slash$quote"}"
}

# becomes VALUE COMMAND...: waits until the command says so, five minutes at most.
becomes() {
    local wanted=$1 said='' tries
    shift
    for ((tries = 0; tries < 100; tries++)); do
        said=$("$@")
        [ "$said" != "$wanted" ] || return 0
        sleep 3
    done
    fail "$job: '$*' says '$said' and not '$wanted' after five minutes; once it does, run this again"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
