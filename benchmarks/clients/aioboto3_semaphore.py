"""aioboto3 with a semaphore: one task an image set, its edits one after another."""

import asyncio
import json
import os
import sys
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig

WORKERS, POLL_S = int(os.environ["WORKERS"]), float(os.environ["POLL_S"])


async def unlocked(client: Any, names: dict[str, str]) -> str:
    while True:
        found = await client.get_image_set(**names)
        if found["imageSetState"] == "ACTIVE":
            if found["imageSetWorkflowStatus"] == "UPDATE_FAILED":
                raise RuntimeError(found.get("message"))
            return str(found["versionId"])
        await asyncio.sleep(POLL_S)


async def apply(client: Any, semaphore: asyncio.Semaphore, line: dict[str, Any]) -> int:
    names = {"datastoreId": os.environ["DATASTORE"], "imageSetId": line["imageSetId"]}
    failed = 0
    async with semaphore:
        for edit in line["edits"]:
            try:
                await client.update_image_set_metadata(
                    **names,
                    latestVersionId=await unlocked(client, names),
                    updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": edit.encode()}},
                )
            except Exception as error:  # noqa: BLE001 - reported, and the next edit is tried
                failed += 1
                print(type(error).__name__, file=sys.stderr)
    return failed


async def main() -> bool:
    with open(os.environ["EDITS"], encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        lines = [json.loads(line) for line in file]
    config = AioConfig(inject_host_prefix=False, max_pool_connections=WORKERS)
    session = aioboto3.Session()
    async with session.client("medical-imaging", endpoint_url=os.environ["ENDPOINT"], config=config) as client:
        semaphore = asyncio.Semaphore(WORKERS)
        failed = await asyncio.gather(*(apply(client, semaphore, line) for line in lines))
    return sum(failed) > 0


sys.exit(asyncio.run(main()))
