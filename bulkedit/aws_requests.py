"""The SDK's requests with less of its work: what is the same for each request of an operation is found once.

botocore finds endpoint, signer and user agent anew for every request, derives a signing key that changes once a day,
and calls a dozen hooks of which this service needs three: two thirds of a request's time. `Direct` is mixed into the
client class by botocore's own way to do so (its event ``creating-client-class``). It leaves checking and serialising
parameters to botocore, the connection, the answer and its errors to aiobotocore; between them it signs.

An operation of which anything is not as described here, be it by a newer botocore or by someone's configuration, goes
the SDK's way. `tests/test_aws_requests.py` holds that both ways put the same bytes on the wire.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlsplit

from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, prepare_request_dict
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from botocore.handlers import add_recursion_detection_header
from botocore.utils import normalize_url_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from botocore.model import OperationModel

# what botocore's hooks do for an operation that `_is_plain` finds plain: nothing, or what is done here as well
_HOOKS: Final[dict[str, set[str]]] = {
    "provide-client-params": set(),
    "before-parameter-build": {"generate_idempotent_uuid", "_handle_request_validation_mode_member"},
    "before-endpoint-resolution": set(),
    "before-call": {"add_recursion_detection_header", "inject_api_version_header_if_needed"},
    "request-created": {
        "AioRequestSigner.handler",
        "UserAgentString.rebuild_and_replace_user_agent_handler",
        "add_retry_headers",
    },
    "before-sign": set(),
    "needs-retry": set(),
    "after-call": set(),
    "after-call-error": set(),
}
# endpoints that depend on these alone are the same for each request of a client
_FIXED: Final = {"AWS::Region", "AWS::UseDualStack", "AWS::UseFIPS", "SDK::Endpoint"}
_CANONICAL: Final = re.compile(r"(?:/[A-Za-z0-9_~-]+)+")  # a path that is its own canonical form


class Signer:
    """Signature Version 4 as `botocore.auth.SigV4Auth` makes it; the key of a day is derived once."""

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._key_of = ("", "")  # secret key and day
        self._key = b""

    def sign(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        *,
        host: str,
        credentials: ReadOnlyCredentials,
        now: float,
    ) -> None:
        """Add to the headers of a request those that sign it. ``host``: its Host header; ``now``: epoch seconds."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        headers["X-Amz-Date"] = stamp
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        signed["host"] = host
        names = sorted(name for name in signed if name not in SIGNED_HEADERS_BLACKLIST)
        lines = [f"{name}:{signed[name]}" for name in names]
        path, _, query = url.split("://", 1)[1].partition("?")
        canonical = (
            method,
            _canonical_path(path[path.find("/") :]),
            "&".join(map("=".join, sorted(_pairs(query)))),
            *lines,
            "",
            ";".join(names),
            hashlib.sha256(body or b"").hexdigest(),
        )
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = hmac.digest(self._key_for(str(credentials.secret_key), stamp[:8]), text.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )

    def _key_for(self, secret_key: str, day: str) -> bytes:
        if self._key_of != (secret_key, day):
            key = f"AWS4{secret_key}".encode()
            for text in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, text.encode(), "sha256")
            self._key_of, self._key = (secret_key, day), key
        return self._key


def _canonical_path(path: str) -> str:
    return path if _CANONICAL.fullmatch(path) else quote(normalize_url_path(path), safe="/~")


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        yield name, value


@dataclass(frozen=True, slots=True)
class _Way:
    """What is the same for each request of one operation."""

    model: OperationModel
    serialize: Callable[[dict[str, Any], OperationModel], dict[str, Any]]  # also checks the parameters
    exchange: Callable[[AWSPreparedRequest, OperationModel, dict[str, Any]], Awaitable[tuple[Any, Exception | None]]]
    endpoint_url: str
    headers: dict[str, str]  # those that the endpoint asks for
    host: str
    prefixed: bool  # the host has the operation's prefix
    user_agent: str
    signer: Signer


class Direct:
    """Mixed into an aiobotocore client, before its own class."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the client's own
        super().__init__(*args, **options)
        self._ways: dict[str, _Way | None] = {}

    async def _make_api_call(self: Any, operation_name: str, api_params: dict[str, Any]) -> dict[str, Any]:
        if operation_name not in self._ways:
            try:
                self._ways[operation_name] = await _way(self, operation_name)
            except AttributeError:  # much of it has no public name, and may have another in a newer SDK
                self._ways[operation_name] = None
        way = self._ways[operation_name]
        if way is None:
            return cast("dict[str, Any]", await super()._make_api_call(operation_name, api_params))  # type: ignore[misc]
        request = await _request(self, way, api_params)
        answer, error = await way.exchange(request, way.model, {})
        if error is not None:
            raise error
        http, parsed = answer
        parsed["ResponseMetadata"]["RetryAttempts"] = 0
        if http.status_code >= 300:
            raise self.exceptions.from_code(parsed.get("Error", {}).get("Code"))(parsed, operation_name)
        return cast("dict[str, Any]", parsed)


def mix_in(base_classes: list[type], **_: object) -> None:
    """Handle botocore's event ``creating-client-class``."""
    base_classes.insert(0, Direct)


async def _request(client: Any, way: _Way, params: dict[str, Any]) -> AWSPreparedRequest:  # noqa: ANN401 - untyped
    made = way.serialize(params, way.model)
    if not way.prefixed:
        made.pop("host_prefix", None)
    headers = made["headers"]
    headers.update(way.headers)
    prepare_request_dict(made, endpoint_url=way.endpoint_url, user_agent=way.user_agent)
    add_recursion_detection_header(made)
    body = made["body"] or None
    credentials = client._request_signer._credentials  # noqa: SLF001
    if credentials is None:
        raise NoCredentialsError
    method, url = made["method"], made["url"]
    frozen = await credentials.get_frozen_credentials()
    way.signer.sign(method, url, headers, body, host=way.host, credentials=frozen, now=time.time())
    headers["amz-sdk-invocation-id"] = str(uuid.uuid4())
    headers["amz-sdk-request"] = "attempt=1"
    if method != "GET":
        headers["Content-Length"] = str(len(body or b""))
    return AWSPreparedRequest(method, url, headers, body, way.model.has_streaming_output)


async def _way(client: Any, operation_name: str) -> _Way | None:  # noqa: ANN401 - untyped
    """What the SDK finds for a request of the operation; None where it has to find it each time."""
    model = client._service_model.operation_model(operation_name)  # noqa: SLF001
    if not _is_plain(client, model):
        return None
    context: dict[str, Any] = {"client_config": client.meta.config, "auth_type": model.resolved_auth_type}
    url, headers, _ = await client._resolve_endpoint_ruleset(model, {}, context)  # noqa: SLF001
    signer = client._request_signer  # noqa: SLF001
    version = await signer._choose_signer(operation_name, "standard", context)  # noqa: SLF001
    signing = context.get("signing", {})
    region, service = signing.get("region") or signer.region_name, signing.get("signing_name") or signer.signing_name
    parts = urlsplit(url)
    plain_url = parts.netloc and not (parts.query or parts.fragment or "@" in parts.netloc)
    signs_body = context.get("payload_signing_enabled", True)
    if (
        version != "v4"
        or not signs_body
        or not plain_url
        or set(signing) - {"region", "signing_name", "disableDoubleEncoding"}
    ):
        return None
    prefixed = client._client_config.inject_host_prefix  # noqa: SLF001
    made: dict[str, Any] = {"url_path": "/", "query_string": "", "headers": {}}
    if prefixed and (prefix := _host_prefix(model)):
        made["host_prefix"] = prefix
    prepare_request_dict(made, endpoint_url=url)
    nobody = ReadOnlyCredentials("", "", None)
    host = SigV4Auth(nobody, service, region).headers_to_sign(AWSRequest("GET", made["url"]))["host"]
    user_agent = client._user_agent_creator.to_string()  # noqa: SLF001
    serialize, exchange = client._serializer.serialize_to_request, client._endpoint._get_response  # noqa: SLF001
    return _Way(model, serialize, exchange, url, headers, host, prefixed, user_agent, Signer(region, service))


def _host_prefix(model: OperationModel) -> str:
    endpoint: Any = model.endpoint or {}
    return str(endpoint.get("hostPrefix", ""))


def _is_plain(client: Any, model: OperationModel) -> bool:  # noqa: ANN401 - untyped
    """Whether all that the SDK does for the operation's requests is known here."""
    emitter = getattr(client.meta.events, "_emitter", client.meta.events)
    service = client._service_model.service_id.hyphenize()  # noqa: SLF001
    for event, known in _HOOKS.items():
        hooks = emitter._handlers.prefix_search(f"{event}.{service}.{model.name}")  # noqa: SLF001
        if not {getattr(hook, "__qualname__", "") for hook in hooks} <= known:
            return False
    resolver = client._ruleset_resolver  # noqa: SLF001
    builtins = {definition.builtin for definition in resolver._param_definitions.values()} if resolver else set()  # noqa: SLF001
    unusual = (
        builtins - _FIXED,
        model.context_parameters,
        model.static_context_parameters,
        model.idempotent_members,
        model.http_checksum_required,
        model.http_checksum,
        model.request_compression,
        model.unsigned_payload,
        model.has_streaming_input,
        model.has_event_stream_input,
        model.has_event_stream_output,
        model.is_endpoint_discovery_operation,
        "{" in _host_prefix(model),
        model.service_model.resolved_protocol != "rest-json",
        not client.meta.config.user_agent,  # else it tells of each request
    )
    return not any(unusual)
