"""Print how bulkedit, boto3 and bare aioboto3 take each certificate: `python -m tests.wire`."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import HTTPClientError, SSLError

from tests.wire.cases import CASES, CLIENTS, Verdict, try_case
from tests.wire.servers import DATASTORE


async def _aioboto3(profile: str | None, *, at_aws: bool) -> Verdict:
    """With the HTTP session of the SDK itself."""
    session = aioboto3.Session(profile_name=profile, region_name="us-east-1")
    try:
        async with session.client("medical-imaging", config=AioConfig(inject_host_prefix=at_aws)) as client:
            await client.get_datastore(datastoreId=DATASTORE)
    except (SSLError, HTTPClientError):
        return Verdict.REFUSED
    return Verdict.ANSWERED


def main() -> None:
    logging.disable()  # the SDK logs a traceback for each refusal
    CLIENTS["bare aioboto3"] = _aioboto3
    print(f"| certificate, way, credentials | {' | '.join(CLIENTS)} | requests in the server's log |")
    print("|---|" + "---|" * (len(CLIENTS) + 1))
    for case in CASES:
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
                patch.setenv(name, value)
            seen = asyncio.run(try_case(case, Path(folder), patch))
        counts = ", ".join(str(len(found)) for found in seen.requests.values())
        print(f"| {case} | {' | '.join(seen.verdicts[name] for name in CLIENTS)} | {counts} |")


if __name__ == "__main__":
    main()
