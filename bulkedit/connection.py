"""The way to AWS, which is loaded when it is gone: half of the commands never ask anything."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bulkedit.client import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bulkedit.aws import AwsClient

__all__ = ["Connection", "connect"]


@asynccontextmanager
async def connect(connection: Connection) -> AsyncIterator[AwsClient]:
    """Open a client; connections are reused until the context ends.

    Raises UsageError for an unknown profile or a missing region, CredentialsError where there are no credentials.
    """
    from bulkedit import aws

    async with aws.connect(connection) as client:
        yield client
