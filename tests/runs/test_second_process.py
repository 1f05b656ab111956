"""Another process that carries out the same plan is noticed by the versions that it makes, and by nothing less."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.reader import Clock
from bulkedit.client.responses import CallState
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.errors import RunHeldError
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.options import EngineOptions
from tests.emulator.hospital import document
from tests.runs.factories import FAST, KEY, PassThroughClient, planned, row
from tests.runs.killable import DirectClient, Emulated, emulated, in_place, process
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.client.responses import Lost, Metadata, Refused
    from bulkedit.plans import SavedPlan

COUNT = 12
SLOW = {**FAST, Operation.UPDATE: Rate(2.0, 1)}


@dataclass
class Scene:
    """A plan for a few image sets of the emulator."""

    server: Emulated
    ids: list[str]
    plan: SavedPlan
    folder: Path

    @classmethod
    def of(cls, folder: Path, *edits: tuple[str, str | None], count: int = COUNT) -> Scene:
        server = emulated()
        ids = [
            server.world.add_image_set(
                DEFAULT_DATASTORE_ID, document(str(number), study=f"1.2.{number + 1}"), now=server.now(), primary=False
            )
            for number in range(count)
        ]
        rows = [row(one, name, value) for one in ids for name, value in edits or (("PatientName", "New"),)]
        return cls(server, ids, planned(folder / "plan", DEFAULT_DATASTORE_ID, rows, merge=False), folder)

    def latest(self) -> set[int]:
        images = (self.server.world.image_set(DEFAULT_DATASTORE_ID, one) for one in self.ids)
        return {len(image.versions) for image in images}


class Counting(PassThroughClient):
    """Counts the documents that are read."""

    documents = 0

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        self.documents += 1
        return await super().get_metadata(image_set_id, version)


def another(scene: Scene, *edits: tuple[str, str | None], count: int = COUNT) -> None:
    """Another process makes these edits of the first image sets."""
    folder = scene.folder / "another"
    folder.mkdir()
    rows = [row(one, name, value) for one in scene.ids[:count] for name, value in edits]
    process(scene.server, planned(folder / "plan", DEFAULT_DATASTORE_ID, rows), folder / "ledger.sqlite")


def run(scene: Scene, *, since: float | None = 0.0) -> int:
    """One process of the run; the number of documents that it read."""
    client: list[Counting] = []

    def wrap(inner: Client) -> Client:
        client.append(Counting(inner))
        return client[0]

    process(scene.server, scene.plan, scene.folder / "ledger.sqlite", wrap=wrap, since=since)
    return client[0].documents


EDITS: dict[str, list[tuple[str, str | None]]] = {
    "one edit": [("PatientName", "New")],
    "two calls": [("PatientName", "New"), ("StudyDescription", "Other")],
    "a removal": [("PatientName", None)],
}


@pytest.mark.parametrize("edits", EDITS.values(), ids=list(EDITS))
def test_another_process_with_the_plan_stops_this_one_with_words(
    tmp_path: Path, edits: list[tuple[str, str | None]]
) -> None:
    scene = Scene.of(tmp_path, *edits)
    process(scene.server, scene.plan, tmp_path / "copy.sqlite")
    with pytest.raises(RunHeldError, match="another process seems to carry out the plan of this run") as caught:
        run(scene)
    assert caught.value.exit_code == 4
    assert sum(one in caught.value.what for one in scene.ids) == 2
    assert "bulkedit resume RUN --assume-unknown" in str(caught.value)


def test_two_processes_with_a_copy_of_the_ledger_do_not_both_go_on(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, count=40)
    ended: list[str] = []

    async def work(folder: Path, seed: int, late_s: float) -> None:
        await anyio.sleep(late_s)
        folder.mkdir()
        clock = Clock(epoch=scene.server.now)
        with Ledger.create(folder / "ledger.sqlite") as ledger:
            options = replace(EngineOptions(), rates=SLOW)
            engine = Engine(
                scene.plan,
                DirectClient(scene.server),
                ledger,
                options,
                key=KEY,
                rng=random.Random(seed),
                clock=clock,
                since=0.0,
            )
            try:
                await engine.run()
            except RunHeldError:
                ended.append("stopped")
            else:
                ended.append("done")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(work, tmp_path / str(number), number, 5.0 * number)

    with in_place():
        run_virtual(main())
    assert "stopped" in ended


class TestNoFalseAlarm:
    """Each of these runs to its end."""

    def test_of_an_earlier_run_with_the_same_list(self, tmp_path: Path) -> None:
        scene = Scene.of(tmp_path)
        another(scene, *EDITS["one edit"])
        scene.server.wait(10)
        assert run(scene, since=scene.server.now()) == 0

    def test_of_one_image_set(self, tmp_path: Path) -> None:
        scene = Scene.of(tmp_path)
        another(scene, *EDITS["one edit"], count=1)
        assert run(scene) == 2

    @pytest.mark.parametrize(
        "edits", [[("PatientName", "Newer")], EDITS["two calls"], EDITS["a removal"]], ids=["other", "more", "removed"]
    )
    def test_of_other_changes(self, tmp_path: Path, edits: list[tuple[str, str | None]]) -> None:
        scene = Scene.of(tmp_path)
        another(scene, *edits)
        assert run(scene) == 2 * COUNT

    def test_of_edits_that_change_nothing(self, tmp_path: Path) -> None:
        scene = Scene.of(tmp_path)
        process(scene.server, scene.plan, tmp_path / "first.sqlite")
        scene.server.wait(10)
        began = scene.server.now()
        another(scene, *EDITS["one edit"])
        assert run(scene, since=began) == 2 * COUNT

    def test_of_its_own_versions(self, tmp_path: Path) -> None:
        assert run(Scene.of(tmp_path, *EDITS["two calls"])) == 0

    def test_of_calls_whose_request_was_lost_before_they_failed(self, tmp_path: Path) -> None:
        """Sent again with `--strategy failed`: the lost request may have been carried out."""
        scene = Scene.of(tmp_path, *EDITS["two calls"])
        another(scene, EDITS["two calls"][1])
        with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
            second = [lane.calls[1].call for batch in scene.plan.lanes() for lane in batch]
            ledger.append([Event(at=0.0, call=call, state=CallState.PLANNED, faults=1) for call in second])
        run(scene)

    def test_if_the_calls_were_compared(self, tmp_path: Path) -> None:
        """A request of the run may have made the versions: its outcome is unknown (--assume-unknown)."""
        scene = Scene.of(tmp_path)
        process(scene.server, scene.plan, tmp_path / "copy.sqlite")
        with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
            unknown = CallState.OUTCOME_UNKNOWN
            ledger.append([Event(at=0.0, call=call, state=unknown, expected_version=1) for call in range(COUNT)])
        run(scene)
        assert scene.latest() == {2}


def test_many_changes_by_others_cost_few_reads(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, count=70)
    another(scene, ("PatientName", "Newer"), count=70)
    assert run(scene) == 2 * (16 + 2)  # of the first 16 image sets, the 32nd and the 64th
