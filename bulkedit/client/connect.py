"""Opens the AWS client lazily: importing the SDK takes 0.3 s, and half of the commands never call AWS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bulkedit.client.contract import Connection
from bulkedit.client.destination import Destination, check_endpoint, is_aws

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bulkedit.client.aws import AwsClient

__all__ = ["Connection", "connect", "destination_of"]


@asynccontextmanager
async def connect(connection: Connection) -> AsyncIterator[AwsClient]:
    """Open a client; connections are reused until the context ends.

    Raises UsageError for an unknown profile, a missing region or an unusable endpoint, and CredentialsError if no
    credentials are found or AWS gives none.
    """
    from bulkedit.client import aws

    async with aws.connect(connection) as client:
        yield client


async def destination_of(connection: Connection) -> Destination:
    """The endpoint that requests would go to, and their sender. Raises as `connect` does.

    Sends nothing to an endpoint that is not AWS.
    """
    url = connection.endpoint_url
    if url is not None and not is_aws(url):
        check_endpoint(url, connection.endpoint_from, allow_http=connection.allow_http)
        return Destination(endpoint_url=url, region=connection.region, source=connection.endpoint_from)
    async with connect(connection) as client:
        return await client.destination()
