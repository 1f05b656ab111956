"""The file `pacing.json` in the user's cache folder: quotas that runs have measured, for the runs after them.

Nothing depends on it. If it cannot be read or written, runs find their quotas by themselves. Two runs that write at the
same time replace the file one after the other, and the first may lose its entries. It has no values.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio

from bulkedit import _received as received
from bulkedit._concurrency import first_error, run_blocking
from bulkedit._files import reason_of, write_private_json
from bulkedit.client.contract import KnowsDestination
from bulkedit.client.pacing import Auto
from bulkedit.client.pacing.remembered import Account, RememberedQuota, measured, merged, with_guesses
from bulkedit.errors import ReceivedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Operation, Pacing, Rate

NAME: Final = "pacing.json"
_LOG: Final = logging.getLogger("bulkedit")
_FORMAT: Final = 1
_EVERY_S: Final = 600.0
_ACCOUNT_S: Final = 2.0  # for which AWS is asked who we are, if nothing has asked yet


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder `bulkedit` in the user's cache folder. None: the user has no home folder."""
    if (given := environment.get("XDG_CACHE_HOME", "")) and Path(given).is_absolute():
        return Path(given) / "bulkedit"  # a relative one is ignored (XDG base directory specification)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "bulkedit"


@dataclass(frozen=True, slots=True)
class QuotaMemory:
    """What is remembered of one account. ``path``: of the file. ``of`` None: nothing is read or written."""

    path: Path | None
    of: Account | None

    @classmethod
    async def of_client(cls, client: Client, rates: Mapping[Operation, Rate | Auto], *, wanted: bool) -> QuotaMemory:
        """The memory for a client. Nothing is remembered if no quota has to be found, or the account is not known."""
        found = None
        if wanted and isinstance(client, KnowsDestination) and any(isinstance(rate, Auto) for rate in rates.values()):
            with anyio.move_on_after(_ACCOUNT_S):
                found = await client.destination()
        if found is None or found.identity is None or found.region is None:
            return cls(None, None)
        folder = cache_folder()
        host = urlsplit(found.endpoint_url).netloc
        return cls(folder and folder / NAME, Account(host, found.region, found.identity.account))

    def guesses(self, rates: Mapping[Operation, Rate | Auto]) -> Mapping[Operation, Rate | Auto]:
        """The rates, each with what is remembered of it."""
        if self.path is None or self.of is None:
            return rates
        return with_guesses(rates, _read(self.path), self.of, time.time())

    def keep(self, pacers: Mapping[Operation, Pacing]) -> None:
        """Write what the pacers have measured."""
        if self.path is None or self.of is None or not (new := measured(pacers, self.of, time.time())):
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_own(self.path.parent)
            quotas = [asdict(one) for one in merged(_read(self.path), new)]
            write_private_json(self.path, {"format": _FORMAT, "quotas": quotas})
        except (OSError, ReceivedError) as error:
            _LOG.debug("The measured quotas are not remembered (%s).", reason_of(error))

    @contextlib.asynccontextmanager
    async def kept(self, pacers: Mapping[Operation, Pacing]) -> AsyncIterator[None]:
        """Write every ten minutes while the block runs, and at its end, however it ends."""

        async def again_and_again() -> None:
            while True:
                await anyio.sleep(_EVERY_S)
                await run_blocking(self.keep, pacers)

        try:
            with first_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(again_and_again)
                    yield
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await run_blocking(self.keep, pacers)


def _read(path: Path) -> list[RememberedQuota]:
    """What the file remembers. Nothing, with a line in the log, if it is damaged, a link or of another user."""
    try:
        _require_own(path.parent)
        _require_own(path)
        return _quotas(received.read_json(path), str(path))
    except FileNotFoundError:
        return []
    except (OSError, ReceivedError, ValueError, OverflowError) as error:  # the last two: numbers that are no quota
        why = error.what if isinstance(error, ReceivedError) else reason_of(error)
        _LOG.info("The remembered quotas in %s are ignored (%s).", path, why.rstrip("."))
        return []


def _quotas(content: JsonObject, where: str) -> list[RememberedQuota]:
    quotas = content.get("quotas")
    if content.get("format") != _FORMAT or not isinstance(quotas, list):
        raise ReceivedError("it has another format", where=where)
    return [received.record(RememberedQuota, one if isinstance(one, dict) else {}, where) for one in quotas]


def _require_own(path: Path) -> None:
    """Raises ReceivedError if a path is a link, or another user may have written it, and OSError."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ReceivedError("it is a link, or another user may write to it.", where=str(path))
