"""Nothing is sent to a server that does not prove who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.cases import CASES, Case, Verdict, try_case
from tests.wire.servers import Certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_server_is_taken_as_boto3_takes_it(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Verdict.ANSWERED if case.certificate is Certificate.RIGHT else Verdict.REFUSED
    seen = await try_case(case, tmp_path, monkeypatch)
    assert seen.verdicts == {"bulkedit": expected, "boto3": expected}
    asked = ["Action=AssumeRole", "/datastore/"] if case.role else ["/datastore/"]
    reached = asked if expected is Verdict.ANSWERED else []
    assert seen.requests == {"bulkedit": reached, "boto3": reached}
