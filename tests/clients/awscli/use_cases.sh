#!/usr/bin/env bash
# The documented use cases, by the AWS CLI v2. What each client runs and prints is said in ../test_conformance.py.
#
# AWS is the CLI. MODEL is the service's model, for a CLI that is older than the service.
set -euo pipefail
shopt -s inherit_errexit

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder AWS_PAGER="" AWS_CONFIG_FILE=$folder/config AWS_SHARED_CREDENTIALS_FILE=$folder/credentials

"$AWS" configure add-model --service-model "file://$MODEL" --service-name medical-imaging

imaging() { "$AWS" medical-imaging "$@" --endpoint-url "$ENDPOINT" --output text; }
say() { local name=$1; shift; echo "$name=$*"; }

# until_not VALUE COMMAND...: the service has no waiters; look until the answer is another
until_not() {
    local value=$1 found
    shift
    for _ in $(seq 200); do
        found=$("$@")
        [ "$found" != "$value" ] && { echo "$found"; return; }
        sleep 0.05
    done
    echo "waited in vain" >&2
    return 1
}

# ---- data stores

datastore=$(imaging create-datastore --datastore-name conformance --query datastoreId)
properties() { imaging get-datastore --datastore-id "$1" --query "datastoreProperties.$2"; }
say datastore "$(until_not CREATING properties "$datastore" datastoreStatus)"
say listed "$(imaging list-datastores --query "datastoreSummaries[?datastoreId=='$datastore'].datastoreName")"

# ---- import

# as JSON, because the CLI would take a file:// in the place of s3:// as the name of a file that holds the parameter
cat >"$folder/job.json" <<JSON
{
    "jobName": "conformance",
    "datastoreId": "$datastore",
    "dataAccessRoleArn": "$ROLE_ARN",
    "inputS3Uri": "$INPUT_URI",
    "outputS3Uri": "$OUTPUT_URI"
}
JSON
job=$(imaging start-dicom-import-job --cli-input-json "file://$folder/job.json" --query jobId)
job_status() { imaging get-dicom-import-job --datastore-id "$datastore" --job-id "$job" --query jobProperties.jobStatus; }
until_not SUBMITTED job_status >"$folder/job"
say job "$(until_not IN_PROGRESS job_status)"
say jobs "$(imaging list-dicom-import-jobs --datastore-id "$datastore" --query 'length(jobSummaries)')"

# ---- searches

search() { imaging search-image-sets --datastore-id "$datastore" --search-criteria "file://$folder/search.json" "$@"; }
count='length(imageSetsMetadataSummaries)'

cat >"$folder/search.json" <<JSON
{"filters": [{"values": [{"DICOMPatientId": "$PATIENT_ID"}], "operator": "EQUAL"}]}
JSON
say search.patient "$(search --query "$count")"

cat >"$folder/search.json" <<JSON
{"filters": [{"values": [
    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "19900101", "DICOMStudyTime": "000000"}},
    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20230101", "DICOMStudyTime": "000000"}}
], "operator": "BETWEEN"}]}
JSON
say search.study "$(search --query "$count")"

tomorrow=$(date -u -d tomorrow +%Y-%m-%dT%H:%M:%S.000Z)
cat >"$folder/search.json" <<JSON
{"filters": [{"values": [{"createdAt": "1985-04-12T23:20:50.52Z"}, {"createdAt": "$tomorrow"}], "operator": "BETWEEN"}]}
JSON
say search.created "$(search --query "$count")"

cat >"$folder/search.json" <<JSON
{
    "filters": [
        {"values": [{"updatedAt": "1985-04-12T23:20:50.52Z"}, {"updatedAt": "$tomorrow"}], "operator": "BETWEEN"},
        {"values": [{"DICOMSeriesInstanceUID": "$SERIES_UID"}], "operator": "EQUAL"}
    ],
    "sort": {"sortField": "updatedAt", "sortOrder": "ASC"}
}
JSON
read -r found primary <<<"$(search --query "[$count,imageSetsMetadataSummaries[0].imageSetId]")"
say search.series "$found"

# ---- looking

image_set() { imaging get-image-set --datastore-id "$datastore" --image-set-id "$1" --query "$2"; }
settled() { # IMAGE_SET: when it is unlocked, its status and version
    local state rest
    for _ in $(seq 200); do
        read -r state rest <<<"$(image_set "$1" '[imageSetState,imageSetWorkflowStatus,versionId]')"
        [ "$state" != LOCKED ] && { echo "${rest//$'\t'/ }"; return; }
        sleep 0.05
    done
    echo "waited in vain" >&2
    return 1
}
metadata() { # IMAGE_SET [--version-id N]
    imaging get-image-set-metadata --datastore-id "$datastore" --image-set-id "$@" "$folder/metadata.json.gz" >"$folder/out"
    gunzip <"$folder/metadata.json.gz"
}
# the first value under a key that occurs once
value_of() { sed -E "s/.*\"$1\": ?\"([^\"]*)\".*/\\1/"; }

say primary "$(image_set "$primary" '[imageSetState,imageSetWorkflowStatus,versionId]' | tr '\t' ' ')"
say metadata "$(metadata "$primary" | value_of PatientName)"

# ---- a copy, and the seven examples of update-image-set-metadata

copy_image_set() { # SOURCE INFORMATION [OPTIONS]
    local source=$1 information=$2
    shift 2
    imaging copy-image-set --datastore-id "$datastore" --source-image-set-id "$source" \
        --copy-image-set-information "$information" --query destinationImageSetProperties.imageSetId "$@"
}
copied() { # NAME IMAGE_SET: when source and copy are unlocked
    settled "$primary" >"$folder/out"
    say "$1" "$(settled "$2")"
}

copy=$(copy_image_set "$primary" '{"sourceImageSet": {"latestVersionId": "1"}}')
copied copy "$copy"

update() { # NAME VERSION UPDATES [OPTIONS]
    local name=$1 version=$2 updates=$3
    shift 3
    local answer after
    answer=$(imaging update-image-set-metadata --datastore-id "$datastore" --image-set-id "$copy" \
        --latest-version-id "$version" --cli-binary-format raw-in-base64-out \
        --update-image-set-metadata-updates "$updates" --query '[imageSetWorkflowStatus,latestVersionId]' "$@" | tr '\t' ' ')
    after=$(settled "$copy")
    say "$name" "$answer" "${after% *}"
}
# attributes KIND JSON: the updates file, with the document as a string in it
attributes() {
    printf '{"DICOMUpdates": {"%s": "%s"}}' "$1" "${2//\"/\\\"}" >"$folder/metadata-updates.json"
    echo "file://$folder/metadata-updates.json"
}
instance() { # UID CONTENT
    printf '{"SchemaVersion":1.1,"Study":{"Series":{"%s":{"Instances":{"%s":%s}}}}}' "$SERIES_UID" "$1" "$2"
}
force_removal=()
[ "$FORCED_REMOVAL" = true ] && force_removal=(--force)

update update-attribute 1 \
    "$(attributes updatableAttributes '{"SchemaVersion":1.1,"Patient":{"DICOM":{"PatientName":"MX^MX"}}}')"
update remove-attribute 2 \
    "$(attributes removableAttributes '{"SchemaVersion":1.1,"Study":{"DICOM":{"StudyDescription":"CHEST"}}}')"
update remove-instance 3 "$(attributes removableAttributes "$(instance "$SECOND_UID" '{}')")" "${force_removal[@]}"
update revert 4 '{"revertToVersionId": "1"}'
update add-private 5 \
    "$(attributes updatableAttributes "$(instance "$FIRST_UID" '{"DICOM":{"001910F9":"97"},"DICOMVRs":{"001910F9":"DS"}}')")" \
    --force
update update-private 6 \
    "$(attributes updatableAttributes "$(instance "$FIRST_UID" '{"DICOM":{"00091001":"GE_GENESIS_DD"}}')")" --force
update change-uid 7 \
    "$(attributes updatableAttributes "$(instance "$FIRST_UID" "{\"DICOM\":{\"SOPInstanceUID\":\"$NEW_UID\"}}")")" --force

say metadata.2 "$(metadata "$copy" --version-id 2 | value_of PatientName)"
say versions "$(imaging list-image-set-versions --datastore-id "$datastore" --image-set-id "$copy" \
    --query 'imageSetPropertiesList[].versionId' | tr '\t' ' ')"
stale=$(imaging update-image-set-metadata --datastore-id "$datastore" --image-set-id "$copy" --latest-version-id 1 \
    --update-image-set-metadata-updates '{"revertToVersionId": "1"}' 2>&1 || true)
say stale "$(sed -n 's/.*(\(.*\)) when calling.*/\1/p' <<<"$stale")"

# ---- copies of some instances, into an image set, and by force

only() { # SOP_UID: sourceImageSet with that instance alone
    local attributes="{\"SchemaVersion\":\"1.1\",\"Study\":{\"Series\":{\"$SERIES_UID\":{\"Instances\":{\"$1\":{}}}}}}"
    printf '"sourceImageSet": {"latestVersionId": "1", "DICOMCopies": {"copiableAttributes": "%s"}}' \
        "${attributes//\"/\\\"}"
}
into() { # IMAGE_SET VERSION
    printf '{%s, "destinationImageSet": {"imageSetId": "%s", "latestVersionId": "%s"}}' "$(only "$SECOND_UID")" "$1" "$2"
}

part=$(copy_image_set "$primary" "{$(only "$FIRST_UID")}")
copied copy-subset "$part"
copied copy-destination "$(copy_image_set "$primary" "$(into "$part" 1)")"
other=$(copy_image_set "$primary" "{$(only "$FIRST_UID")}")
copied copy-again "$other"
attributes updatableAttributes '{"SchemaVersion":1.1,"Patient":{"DICOM":{"PatientID":"OTHER"}}}' >"$folder/out"
imaging update-image-set-metadata --datastore-id "$datastore" --image-set-id "$other" --latest-version-id 1 \
    --cli-binary-format raw-in-base64-out >"$folder/out" \
    --update-image-set-metadata-updates "file://$folder/metadata-updates.json"
settled "$other" >"$folder/out"
copied copy-inconsistent "$(copy_image_set "$primary" "$(into "$other" 2)")"
copied copy-forced "$(copy_image_set "$primary" "$(into "$other" 3)" --force)"

# ---- tags

for arn in "$(properties "$datastore" datastoreArn)" "$(image_set "$copy" imageSetArn)"; do
    imaging tag-resource --resource-arn "$arn" --tags '{"Deployment": "Development"}'
    say tagged "$(imaging list-tags-for-resource --resource-arn "$arn" --query tags.Deployment)"
    imaging untag-resource --resource-arn "$arn" --tag-keys '["Deployment"]'
    say untagged "$(imaging list-tags-for-resource --resource-arn "$arn" --query 'length(tags)')"
done

# ---- deletion

say delete "$(imaging delete-image-set --datastore-id "$datastore" --image-set-id "$primary" \
    --query imageSetWorkflowStatus)"
deleted=$(settled "$primary")
say deleted "${deleted% *}"
promoted=$(copy_image_set "$part" '{"sourceImageSet": {"latestVersionId": "2"}}' --promote-to-primary)
settled "$part" >"$folder/out"
settled "$promoted" >"$folder/out"
say promoted "$(image_set "$promoted" isPrimary | tr '[:upper:]' '[:lower:]')"

spare=$(imaging create-datastore --datastore-name spare --query datastoreId)
until_not CREATING properties "$spare" datastoreStatus >"$folder/out"
imaging delete-datastore --datastore-id "$spare" >"$folder/out"
say spare "$(until_not DELETING properties "$spare" datastoreStatus)"

say ids "$datastore" "$primary" "$copy" "$part" "$other" "$promoted"
