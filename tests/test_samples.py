"""Every sample is applied by the real command to the data store that it is made for."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Emulator, Settings, serve
from bulkedit.emulator.dicom_import.importer import read_folder
from bulkedit.emulator.state.document import parse
from tests.cli.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(__file__).parents[1] / "samples"
NOT_APPLIED = {"demo.csv": 1}  # one removal names a value that is not stored, so that a refusal is seen
# example 7 changes a UID, which the service does on image sets that are not primary only
EXAMPLE_7 = "064884b85ab0bd0fb8ecfb0eeb3dcf9b"


@cache
def demo() -> list[dict[str, Any]]:
    """The metadata of the image sets of the demo data store."""
    files = resources.files("pydicom").joinpath("data/test_files")
    with resources.as_file(files) as folder:
        return [image_set.document for image_set in read_folder(folder).image_sets]


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The demo data store."""
    secondary = getattr(request, "param", None)
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as running:
        for content in demo():
            image_set_id = running.add(content)
            if image_set_id == secondary:
                running.do(lambda world: setattr(world.image_set(running.datastore_id, secondary), "primary", False))
        yield running


def apply(emulator: Emulator, path: Path, folder: Path) -> dict[str, Any]:
    done = Shell(folder, emulator).run("apply", path, "--run", "run", "--yes", "--json")
    assert done.exit_code in {0, 1}, done.stderr
    return done.json[-1]


def document(emulator: Emulator, image_set_id: str, version: int) -> dict[str, Any]:
    return emulator.do(
        lambda world: parse(world.image_set(emulator.datastore_id, image_set_id).versions[version - 1].document)
    )


LISTS = sorted(path for path in SAMPLES.iterdir() if path.suffix not in {".py", ".md", ".ipynb"} and path.is_file())


@pytest.mark.parametrize("emulator", [EXAMPLE_7], indirect=True, ids=["demo data store"])
@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_sample_is_applied(emulator: Emulator, tmp_path: Path, path: Path) -> None:
    summary = apply(emulator, path, tmp_path)
    assert summary["rejected"] == NOT_APPLIED.get(path.name, 0)
    assert summary["applied"] == summary["edits"] - summary["rejected"]


@pytest.mark.parametrize("emulator", [EXAMPLE_7], indirect=True, ids=["demo data store"])
def test_the_seven_examples_of_aws_do_what_their_page_says(emulator: Emulator, tmp_path: Path) -> None:
    """update-image-set-metadata: the metadata before and after each."""
    apply(emulator, SAMPLES / "aws-cli-examples.csv", tmp_path)
    first, second = "2ae3143ca2cd5f198a6166cc5919d7e9", "3971920f4154ceb4d52888347461057d"

    def versions(image_set_id: str, *path: str) -> list[Any]:
        count = emulator.do(lambda world: world.image_set(emulator.datastore_id, image_set_id).number)
        found = []
        for version in range(1, count + 1):
            node: Any = document(emulator, image_set_id, version)
            for key in path:
                node = next(iter(node.values())) if key == "*" else node.get(key, "absent")
            found.append(node)
        return found

    instance = ("Study", "Series", "*", "Instances", "*")
    assert versions(first, "Patient", "DICOM", "PatientName") == [
        *("CompressedSamples^CT1", "MX^MX"),  # 1: set
        *("CompressedSamples^CT1",) * 3,  # 4: revert; then private elements
    ]
    assert [len(found) for found in versions(second, *instance[:-1])] == [2, 2, 1]  # 3: instance removed
    assert versions(second, "Study", "DICOM", "StudyDescription") == [
        "Whole Body Bone",
        "absent",
        "absent",
    ]  # 2: removed
    assert versions(first, *instance, "DICOM", "001910F9")[2:] == ["absent", "97", "97"]  # 5: private element added
    assert versions(first, *instance, "DICOMVRs")[-1]["001910F9"] == "DS"
    private = versions(first, *instance, "DICOM", "00091001")
    assert private[3] != private[4]  # 6: private element changed
    series = versions(EXAMPLE_7, "Study", "Series", "*", "DICOM", "SeriesInstanceUID")
    assert (len(series), series[0] == series[1]) == (2, False)  # 7: UID changed
