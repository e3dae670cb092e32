#!/bin/bash
# OpenStack Swift, a real object store with an S3 API, on loopback: set up in FOLDER, the S3 contract run on it, ended.
#   tests/storage_backends/s3/swift.sh FOLDER [pytest options]
# Needs liberasurecode (Debian: liberasurecode1). Its Python packages go into FOLDER/venv, since they fit no other ones.
set -euo pipefail
folder=$(realpath -m "${1:?a folder to set Swift up in}")
shift
root=$(cd "$(dirname "$0")/../../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
bin=$folder/venv/bin
if [[ ! -x $bin/swift-proxy-server ]]; then
    "$python" -m venv "$folder/venv"
    "$bin/pip" install --quiet "swift>=2.33" "setuptools<81"
fi
etc=$folder/etc
rm -rf "$etc" "$folder/disk"
mkdir -p "$etc" "$folder/disk/d1"
port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
proxy=$(port)

cat > "$etc/swift.conf" <<END
[swift-hash]
swift_hash_path_suffix = suffix
swift_hash_path_prefix = prefix
[storage-policy:0]
name = one
default = yes
END
for server in account container object; do
    number=$(port)
    cat > "$etc/$server.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $number
workers = 0
user = $(id -un)
swift_dir = $etc
devices = $folder/disk
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = $server-server
[app:$server-server]
use = egg:swift#$server
END
    (
        cd "$etc"
        "$bin/swift-ring-builder" "$server.builder" create 4 1 0
        "$bin/swift-ring-builder" "$server.builder" add "r1z1-127.0.0.1:$number/d1" 1
        "$bin/swift-ring-builder" "$server.builder" rebalance
    ) > /dev/null
done
cat > "$etc/proxy.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $proxy
workers = 0
user = $(id -un)
swift_dir = $etc
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo symlink versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = no
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
END

started=()
trap 'kill "${started[@]}" 2> /dev/null || true' EXIT
for server in account container object proxy; do
    "$bin/swift-$server-server" "$etc/$server.conf" > "$folder/$server.log" 2>&1 &
    started+=($!)
done
for _ in $(seq 50); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$proxy") 2> /dev/null; then break; fi
    sleep 0.2
done
export S3_TEST_ENDPOINT=http://127.0.0.1:$proxy AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing
cd "$root"
"$python" -m pytest tests/storage_backends/s3 --ignore=tests/storage_backends/s3/test_book.py "$@"
