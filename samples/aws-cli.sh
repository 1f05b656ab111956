#!/bin/bash
set -euo pipefail

# corrections before the migration
aws medical-imaging update-image-set-metadata \
    --datastore-id emulated000000000000000000000001 --image-set-id cf3b3e4574a2937ef26a9255375ae071 \
    --latest-version-id 1 --cli-binary-format raw-in-base64-out \
    --update-image-set-metadata-updates 'DICOMUpdates={updatableAttributes="{\"SchemaVersion\":1.1,\"Patient\":{\"DICOM\":{\"PatientName\":\"O'\''Neil^Zoë\"}}}"}' >>updates.log
sleep 1
aws medical-imaging update-image-set-metadata \
    --datastore-id emulated000000000000000000000001 --image-set-id 3971920f4154ceb4d52888347461057d \
    --latest-version-id 1 --cli-binary-format raw-in-base64-out \
    --update-image-set-metadata-updates '{"DICOMUpdates":{"removableAttributes":"{\"SchemaVersion\":1.1,\"Study\":{\"DICOM\":{\"StudyDescription\":\"Whole Body Bone\"}}}"}}' >>updates.log
sleep 1
aws medical-imaging update-image-set-metadata \
    --datastore-id emulated000000000000000000000001 --image-set-id c90c21c29365724c88148d654c5dfd98 \
    --latest-version-id 1 --cli-binary-format raw-in-base64-out \
    --update-image-set-metadata-updates file://documents/description.json >>updates.log
sleep 1
aws medical-imaging update-image-set-metadata \
    --datastore-id emulated000000000000000000000001 --image-set-id c90c21c29365724c88148d654c5dfd98 \
    --latest-version-id 2 --cli-binary-format raw-in-base64-out \
    --update-image-set-metadata-updates revertToVersionId=1 >>updates.log || exit 1
sleep 1
