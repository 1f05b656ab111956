#!/usr/bin/env bash
# The AWS CLI in xargs: so many shells at once, each an image set at a time.
set -u

imaging() {
    "$AWS" medical-imaging "$@" --endpoint-url "$ENDPOINT" --datastore-id "$DATASTORE" --output text
}

unlocked() {
    local found state version
    while found=$(imaging get-image-set --image-set-id "$1" --query '[imageSetState,versionId]'); do
        read -r state version <<<"$found"
        [ "$state" = ACTIVE ] && { echo "$version"; return 0; }
        sleep "$POLL_S"
    done
    return 1
}

apply() {
    local id=$1 version edit failed=0
    shift
    for edit in "$@"; do
        version=$(unlocked "$id") && imaging update-image-set-metadata --image-set-id "$id" \
            --latest-version-id "$version" --cli-input-json "$edit" >/dev/null || failed=1
    done
    return "$failed"
}

if [ $# -gt 0 ]; then
    apply "$@"
    exit
fi
# EDITS_CLI: a line is the id of an image set and its edits, quoted for xargs
xargs -P "$WORKERS" -L 1 "$0" <"$EDITS_CLI"
