#!/bin/sh
# Bring data in as a new version, attach its metrics, and promote it stage by stage; gates decide.
#
#   release.sh TYPE/NAME DATA METRICS.json [STAGE …]        stages: validation production
#
# ALLUXIO_LANCE_ADDRESS   the sidecar: grpcs://HOST:PORT, or by default that of this node
# ALLUXIO_LANCE_TOKEN     who the pipeline is: `alluxio-lance token create ci --role pipeline --lifetime 90d`
# RELEASE_RUN             what names this run, CI sets it: a run that is repeated makes no second version
# RELEASE_REASON          why; it stands in the history
# RELEASE_METADATA        a JSON file with metadata: {"license": "MIT"}
# RELEASE_MODE            how an update brings its data in: overwrite (the default), append
# RELEASE_TIMEOUT         how long to wait for approvals (10m)
#
# Exit codes, those of alluxio-lance: 0 released, 1 something is down (run it again), 2 wrong usage, 3 a gate, a role or
# a reader said no (mend it), 4 not found, 5 somebody else was first (run it again).
set -u

if [ $# -lt 3 ]; then
    echo "usage: release.sh TYPE/NAME DATA METRICS.json [STAGE ...]" >&2
    exit 2
fi
resource=$1 data=$2 metrics=$3
shift 3
[ $# -gt 0 ] || set -- validation production
run=${RELEASE_RUN:-$(date +%s)-$$}
reason=${RELEASE_REASON:-released by run $run}

# A part that is down may be up again in a moment; every step below is harmless when it is done twice.
attempt() {
    tries=3
    while :; do
        "$@"
        code=$?
        tries=$((tries - 1))
        if [ $code -ne 1 ] || [ $tries -eq 0 ]; then return $code; fi
        echo "trying again: alluxio-lance $2 $3" >&2
        sleep "${RELEASE_PAUSE:-5}"
    done
}

# 1. The version. It is not active: readers go on with the one before until a gate has seen the new one.
attempt alluxio-lance show "$resource" --json >/dev/null 2>&1
case $? in
    0) verb="update --mode ${RELEASE_MODE:-overwrite}" ;;
    4) verb=register ;;
    *) alluxio-lance show "$resource" >/dev/null; exit $? ;;   # once more, for its message
esac
# shellcheck disable=SC2086 - the verb is several words
made=$(attempt alluxio-lance $verb "$resource" "$data" --no-activate --message "$reason" \
    ${RELEASE_METADATA:+--metadata-file "$RELEASE_METADATA"} --request-id "$run-version" --json) || exit $?
version=$(printf '%s' "$made" | python3 -c 'import json, sys; print(json.load(sys.stdin)["version"]["semver"])') || exit 1
echo "$resource@$version is in"

# 2. What was measured on it.
attempt alluxio-lance measure "$resource@$version" --file "$metrics" --request-id "$run-metrics" >/dev/null || exit $?

# 3. Stage by stage. The report of the gates is on stderr when one of them says no.
for stage in "$@"; do
    attempt alluxio-lance promote "$resource@$version" "$stage" --reason "$reason" \
        --wait --timeout "${RELEASE_TIMEOUT:-10m}" --request-id "$run-$stage" >/dev/null
    code=$?
    case $code in
        0) echo "$resource@$version is in $stage" ;;
        3) echo "$resource@$version stays out of $stage: the report says why" >&2; exit 3 ;;
        *) exit $code ;;
    esac
done
