"""boto3 in a thread pool: one task an image set, its edits one after another. MODE is the retry mode of the SDK."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

WORKERS, POLL_S = int(os.environ["WORKERS"]), float(os.environ["POLL_S"])
MODE = os.environ["MODE"]

retries: Any = None if MODE == "default" else {"mode": MODE}
config = Config(inject_host_prefix=False, max_pool_connections=WORKERS, retries=retries)
client = boto3.client("medical-imaging", endpoint_url=os.environ["ENDPOINT"], config=config)


def unlocked(names: dict[str, str]) -> str:
    while True:
        found = client.get_image_set(**names)
        if found["imageSetState"] == "ACTIVE":
            if found["imageSetWorkflowStatus"] == "UPDATE_FAILED":
                raise RuntimeError(found.get("message"))
            return str(found["versionId"])
        time.sleep(POLL_S)


def apply(line: dict[str, Any]) -> int:
    names = {"datastoreId": os.environ["DATASTORE"], "imageSetId": line["imageSetId"]}
    failed = 0
    for edit in line["edits"]:
        try:
            client.update_image_set_metadata(
                **names,
                latestVersionId=unlocked(names),
                updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": edit.encode()}},
            )
        except Exception as error:  # noqa: BLE001 - reported, and the next edit is tried
            failed += 1
            print(type(error).__name__, file=sys.stderr)
    return failed


with open(os.environ["EDITS"], encoding="utf-8") as file, ThreadPoolExecutor(WORKERS) as pool:  # noqa: PTH123
    sys.exit(sum(pool.map(apply, map(json.loads, file))) > 0)
