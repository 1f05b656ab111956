"""The control endpoint ``/_emulator``, with which tests control the emulator. It is not part of the service's API.

| request | effect and response |
|---|---|
| GET /_emulator | the settings, and the number of image sets |
| GET /_emulator/journal?since=N&limit=N | entries after N, oldest first; `last`; the number of `dropped` entries |
| GET /_emulator/cloudtrail | the requests of the journal as a log file of CloudTrail has them |
| GET /_emulator/faults | the active faults, each with its number of strikes (`struck`) |
| POST /_emulator/faults | add one fault, or a list of faults |
| DELETE /_emulator/faults | remove all faults |
| POST /_emulator/quota | `{"scale": 4}`: change the quotas from now on |
| POST /_emulator/locks | `{"imageSetId": "…", "seconds": 60}`: lock it as another writer; without `seconds`, for ever |
| POST /_emulator/image-sets?datastoreId=… | import the metadata document in the body; returns `imageSetId` |

Only loopback clients may use it; if the emulator has a key pair, they must send it. Quotas, faults and the journal do
not apply to these requests.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import parse_qs

from bulkedit._version import __version__
from bulkedit.emulator.api.failures import Denied, Invalid, NotFound, ServiceError
from bulkedit.emulator.http.wire import JSON, Reply, refusal
from bulkedit.emulator.settings import DEFAULT_DATASTORE_ID
from bulkedit.emulator.state import cloudtrail, faults
from bulkedit.emulator.state.image_set import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit._json import JsonObject
    from bulkedit.emulator.http.running import Running
    from bulkedit.emulator.http.signing import Credentials

PREFIX: Final = "/_emulator"
_LOOPBACK: Final = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


class NoKey(Denied):
    """A control request lacks the emulator's key pair."""

    code: ClassVar[str] = "UnauthorizedException"
    status: ClassVar[int] = 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Basic realm="bulkedit emulator", charset="UTF-8"'}

    def __init__(self) -> None:
        super().__init__(
            "The control endpoint needs the emulator's keys as user and password of HTTP Basic authentication: "
            'curl -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"'
        )


def check_access(remote: str | None, authorization: str | None, credentials: Credentials | None) -> None:
    """Refuse requests of other machines and, if the emulator has a key pair, requests without it.

    ``remote``: the client's address. ``authorization``: the header, HTTP Basic (RFC 7617). Raises Denied or NoKey.
    """
    if remote not in _LOOPBACK:
        raise Denied("The control endpoint is for clients on this machine only.")
    if credentials is None:
        return
    pair = f"{credentials.access_key}:{credentials.secret_key}"
    scheme, _, given = (authorization or "").partition(" ")
    expected = base64.b64encode(pair.encode())
    if scheme.lower() != "basic" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected):
        raise NoKey


def answer(server: Running, method: str, target: tuple[str, str], body: bytes) -> Reply:
    """Perform a control request that `check_access` has allowed. ``target``: path and query."""
    try:
        path, query = target[0].removeprefix(PREFIX).strip("/"), {k: v[-1] for k, v in parse_qs(target[1]).items()}
        if (action := _ACTIONS.get((method, path))) is None:
            raise NotFound("The control endpoint does not have this path and method.")
        content = json.dumps(action(server, query, body)).encode()
        server.catch_up()
    except ServiceError as error:
        return refusal(error)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        # our ValueErrors name fields and choices, those of the JSON parser positions: neither quotes values
        return refusal(Invalid(str(error) if isinstance(error, ValueError) else "The request is malformed."))
    return Reply(200, content, {"Content-Type": JSON})


def _status(server: Running, _query: dict[str, str], _body: bytes) -> JsonObject:
    world, settings = server.world, server.settings
    return {
        "version": __version__,
        "profile": dataclasses.asdict(settings.profile),
        "scale": str(world.quota.scale),
        "completion_time": dataclasses.asdict(settings.completion_time),
        "seed": settings.seed,
        "now": server.now(),
        "datastores": {d.id: {"name": d.name, "imageSets": len(d.image_sets)} for d in world.datastores.values()},
        "journal": {"last": server.journal.last, "dropped": server.journal.dropped},
    }


def _journal(server: Running, query: dict[str, str], _body: bytes) -> JsonObject:
    server.catch_up()
    entries = server.journal.since(int(query.get("since", "0")))[: int(query.get("limit", "100000"))]
    return {
        "entries": [entry.as_dict() for entry in entries],
        "last": entries[-1].seq if entries else server.journal.last,
        "dropped": server.journal.dropped,
    }


def _cloudtrail(server: Running, _query: dict[str, str], _body: bytes) -> JsonObject:
    return cloudtrail.log_file(server.journal.since())


def _faults(server: Running, _query: dict[str, str], _body: bytes) -> JsonObject:
    return {"faults": [*server.faults.as_dicts()]}


def _set_faults(server: Running, query: dict[str, str], body: bytes) -> JsonObject:
    given = json.loads(body)
    server.faults.add(
        [faults.from_dict(one) for one in (given if isinstance(given, list) else [given])], now=server.now()
    )
    return _faults(server, query, body)


def _clear_faults(server: Running, query: dict[str, str], body: bytes) -> JsonObject:
    server.faults.clear()
    return _faults(server, query, body)


def _quota(server: Running, _query: dict[str, str], body: bytes) -> JsonObject:
    scale = float(json.loads(body)["scale"])
    if not scale > 0:
        raise Invalid("scale must be above 0")
    server.world.quota.rescale(scale)
    return {"scale": str(scale)}


def _add_image_set(server: Running, query: dict[str, str], body: bytes) -> JsonObject:
    document = json.loads(body)
    if not isinstance(document, dict) or not {"Patient", "Study"} <= document.keys():
        raise Invalid("The body is not a metadata document, which has Patient and Study.")
    datastore = server.world.datastore(query.get("datastoreId", DEFAULT_DATASTORE_ID))
    server.catch_up()
    return {"imageSetId": server.world.add_image_set(datastore.id, document, now=server.now())}


def _lock(server: Running, query: dict[str, str], body: bytes) -> JsonObject:
    given = json.loads(body)
    datastore_id = query.get("datastoreId", DEFAULT_DATASTORE_ID)
    image_set = server.world.image_set(datastore_id, str(given["imageSetId"]))
    seconds = float(given.get("seconds", NEVER))
    if not seconds > 0:
        raise Invalid("seconds must be above 0")
    server.catch_up()
    server.world.lock_as_another(image_set, server.now(), seconds)
    return {"imageSetId": image_set.id, "imageSetState": image_set.state}


_ACTIONS: Final[dict[tuple[str, str], Callable[[Running, dict[str, str], bytes], JsonObject]]] = {
    ("GET", ""): _status,
    ("GET", "journal"): _journal,
    ("GET", "cloudtrail"): _cloudtrail,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _set_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "quota"): _quota,
    ("POST", "locks"): _lock,
    ("POST", "image-sets"): _add_image_set,
}
