"""Clients that nobody here wrote run the documented use cases, and the emulator's own books say what they did.

Each client has a folder with one program. All of them run the same use cases, in the order of the documentation's
pages, and print what they read in the answers, one ``name=value`` a line: data stores, an import job, the four search
examples, properties and metadata, a copy, the seven examples of update-image-set-metadata on that copy, an update with
a stale version, copies of single instances (new, into an image set, into one that does not fit, the same by force),
tags, deletion, promotion of a copy to primary, and the deletion of a data store.

The programs take their names from the environment: ENDPOINT, INPUT_URI, OUTPUT_URI, ROLE_ARN, PATIENT_ID, SERIES_UID,
FIRST_UID and SECOND_UID (the series' two instances), NEW_UID, and FORCED_REMOVAL (``true`` where the removal of an
instance needs force). ``install.sh`` installs the clients. A client that is not there is skipped by name, and fails
where BULKEDIT_REQUIRE_CLIENTS is 1.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Credentials, Emulator, Entry, Settings, profile, serve
from bulkedit.emulator.state.document import assemble

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
STUDY, SERIES, NEW = "2.999.20", "2.999.20.1", "2.999.20.1.9"
FIRST, SECOND = "2.999.20.1.1", "2.999.20.1.2"
PATIENT = "CONFORMANCE-1"

# The emulator verifies every signature, so that the clients' own signers are held against it too.
ACCESS_KEY, SECRET_KEY = "conformance", "a/secret+of=no*worth"

# What is called to see whether something is over; how often depends on the client's speed.
LOOKING = {"GetDatastore", "GetDICOMImportJob", "GetImageSet", "GetImageSetMetadata", "ListDatastores"}

PRINTED = f"""
datastore=ACTIVE
listed=conformance
job=COMPLETED
jobs=1
search.patient=1
search.study=1
search.created=2
search.series=1
primary=ACTIVE CREATED 1
metadata=DOE^JANE
copy=COPIED 1
update-attribute=UPDATING 2 UPDATED
remove-attribute=UPDATING 3 UPDATED
remove-instance=UPDATING 4 UPDATED
revert=UPDATING 5 UPDATED
add-private=UPDATING 6 UPDATED
update-private=UPDATING 7 UPDATED
change-uid=UPDATING 8 UPDATED
metadata.2=MX^MX
versions={" ".join(str(n) for n in range(8, 0, -1))}
stale=ResourceNotFoundException
copy-subset=COPIED 1
copy-destination=COPIED 2
copy-again=COPIED 1
copy-inconsistent=COPY_FAILED 3
copy-forced=COPIED 4
tagged=Development
untagged=0
tagged=Development
untagged=0
delete=DELETING
deleted=DELETED
promoted=true
spare=DELETED
""".split("\n")[1:-1]

# Every request but the looking, as the service saw it: action, version named, answer.
CALLED = [
    ("CreateDatastore", None, 200),
    ("StartDICOMImportJob", None, 200),
    ("ListDICOMImportJobs", None, 200),
    *[("SearchImageSets", None, 200)] * 4,
    ("CopyImageSet", None, 200),
    *[("UpdateImageSetMetadata", base, 200) for base in range(1, 8)],
    ("ListImageSetVersions", None, 200),
    ("UpdateImageSetMetadata", 1, 404),
    *[("CopyImageSet", None, 200)] * 3,
    ("UpdateImageSetMetadata", 1, 200),
    *[("CopyImageSet", None, 200)] * 2,
    *[
        ("TagResource", None, 200),
        ("ListTagsForResource", None, 200),
        ("UntagResource", None, 200),
        ("ListTagsForResource", None, 200),
    ]
    * 2,
    ("DeleteImageSet", None, 200),
    ("CopyImageSet", None, 200),
    ("CreateDatastore", None, 200),
    ("DeleteDatastore", None, 200),
]

# The history of the copy, as its states came: version and workflow status.
HISTORY = [(1, "COPYING"), (1, "COPIED"), *[(n, status) for n in range(2, 9) for status in ("UPDATING", "UPDATED")]]


@dataclass(frozen=True, slots=True)
class ImageSets:
    """The ids that a client prints last."""

    datastore_id: str
    primary: str
    copy: str
    part: str
    other: str
    promoted: str


@dataclass(frozen=True, slots=True)
class Client:
    """A client: how it is called, and what is missing where it cannot be."""

    name: str
    command: list[str]
    missing: str | None

    def run(self, folder: Path, environment: dict[str, str]) -> list[str]:
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        done = subprocess.run(
            self.command, cwd=folder, env=own | environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines()


def boto3() -> Client:
    missing = None if importlib.util.find_spec("boto3") else "boto3 is not installed"
    return Client("boto3", [sys.executable, str(HERE / "boto3" / "use_cases.py")], missing)


def awscli() -> Client:
    """The first CLI of version 2 on the path: a CLI of version 1 may stand before it."""
    places = [shutil.which("aws", path=place) for place in os.environ["PATH"].split(os.pathsep)]
    found = next((aws for aws in places if aws and _answers(aws, "--version").startswith("aws-cli/2")), None)
    command = ["env", f"AWS={found}", "bash", str(HERE / "awscli" / "use_cases.sh")]
    return Client("awscli", command, None if found else "the AWS CLI v2 is not installed")


def javascript() -> Client:
    folder = HERE / "javascript"
    there = shutil.which("node") and (folder / "node_modules" / "@aws-sdk" / "client-medical-imaging").is_dir()
    command = ["node", str(folder / "use_cases.js")]
    return Client("javascript", command, None if there else "the AWS SDK for JavaScript is not installed")


def java() -> Client:
    jar = HERE / "java" / "target" / "use-cases.jar"
    there = shutil.which("java") and jar.is_file()
    command = ["java", "-cp", f"{jar}:{jar.parent / 'dependency'}/*", "UseCases"]
    return Client("java", command, None if there else "the AWS SDK for Java is not built")


def _answers(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


# The CLI stands on what boto3 stands on, and takes the better part of a second for a call: for it one age is enough.
RUNS = [(boto3, "2025"), (boto3, "2026"), (awscli, "2025")]
RUNS += [(client, age) for client in (javascript, java) for age in ("2025", "2026")]


def form_of(run: tuple[Callable[[], Client], str]) -> list[pytest.MarkDecorator]:
    """boto3 is the short form: the other clients take ten seconds of CPU and more."""
    return [] if run[0] is boto3 else [pytest.mark.slow]


def named(run: tuple[Callable[[], Client], str]) -> str:
    return f"{run[0].__name__}-{run[1]}"


def installed(client: Client) -> Client:
    if client.missing and os.environ.get("BULKEDIT_REQUIRE_CLIENTS") == "1":
        pytest.fail(f"{client.missing}: run tests/clients/install.sh")
    if client.missing:
        pytest.skip(f"{client.missing}: see tests/clients/install.sh")
    return client


def series(folder: Path) -> Path:
    """Two instances with the attributes that the examples change; a third for searches to leave out."""
    folder.mkdir()
    for number, uid in enumerate((FIRST, SECOND), start=1):
        write(folder / f"{number}.dcm", instance(STUDY, SERIES, uid, patient=PATIENT, date="20040119"))
    write(
        folder / "3.dcm", instance("2.999.21", "2.999.21.1", "2.999.21.1.1", patient="CONFORMANCE-2", date="20240311")
    )
    return folder


def instance(study_uid: str, series_uid: str, uid: str, *, patient: str, date: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = study_uid, series_uid
    made.PatientID, made.PatientName = patient, "DOE^JANE"
    made.StudyDate, made.StudyTime, made.StudyDescription = date, "072730", "CHEST"
    made.Modality, made.SeriesNumber = "CT", 1
    made.add_new(0x00090010, "LO", "GEMS_IDEN_01")
    made.add_new(0x00091001, "LO", "GE_GENESIS_FF")
    made.add_new(0x00190010, "LO", "GEMS_ACQU_01")
    return made


def write(path: Path, made: Dataset) -> None:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, made, enforce_file_format=True)


def service_model(path: Path) -> Path:
    """botocore's model of the service, for the CLI of Debian 12, which is older than the service.

    That CLI cannot be told to leave the host name alone (see reference/healthimaging.md, section 1.1): so the prefix is
    taken out of the model instead.
    """
    packed = Path(botocore.__file__).parent / "data" / "medical-imaging" / "2023-07-19" / "service-2.json.gz"
    model = json.loads(gzip.decompress(packed.read_bytes()))
    for operation in model["operations"].values():
        operation.pop("endpoint", None)
    path.write_text(json.dumps(model), "utf-8")
    return path


def documents(emulator: Emulator, datastore_id: str, image_set_id: str) -> list[dict[str, Any]]:
    """The metadata of each version, oldest first."""
    texts = emulator.do(
        lambda world: [
            assemble(version.document, datastore_id, image_set_id)
            for version in world.datastores[datastore_id].image_sets[image_set_id].versions
        ]
    )
    return [json.loads(text) for text in texts]


def instances(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["Study"]["Series"][SERIES]["Instances"]
    return found


def requests(journal: list[Entry]) -> list[Entry]:
    return [entry for entry in journal if entry.kind == "request" and entry.action not in LOOKING]


def history(journal: list[Entry], image_set_id: str) -> list[tuple[int | None, str | None]]:
    return [(e.version, e.workflow) for e in journal if e.kind == "state" and e.image_set_id == image_set_id]


@pytest.mark.parametrize(("make", "age"), [pytest.param(*run, marks=form_of(run), id=named(run)) for run in RUNS])
def test_a_real_client_runs_the_documented_use_cases(make: Callable[[], Client], age: str, tmp_path: Path) -> None:
    client = installed(make())
    settings = Settings(
        profile=profile(age),
        completion_time=CompletionTime(seconds=0.02),
        scale=UNTHROTTLED,
        credentials=Credentials(ACCESS_KEY, SECRET_KEY),
        import_roots=(tmp_path,),
    )
    with serve(settings) as emulator:
        printed = client.run(tmp_path, environment(emulator, tmp_path, age))
        judge(emulator, printed, age)


def environment(emulator: Emulator, folder: Path, age: str) -> dict[str, str]:
    return {
        "ENDPOINT": emulator.url,
        "MODEL": str(service_model(folder / "service-2.json")),
        "INPUT_URI": series(folder / "dicom").as_uri() + "/",
        "OUTPUT_URI": (folder / "results").as_uri() + "/",
        "ROLE_ARN": "arn:aws:iam::000000000000:role/conformance",
        "PATIENT_ID": PATIENT,
        "SERIES_UID": SERIES,
        "FIRST_UID": FIRST,
        "SECOND_UID": SECOND,
        "NEW_UID": NEW,
        "FORCED_REMOVAL": str(age == "2026").lower(),
    }


def judge(emulator: Emulator, printed: list[str], age: str) -> None:
    # what the client read in the answers
    assert printed[:-1] == PRINTED
    name, _, ids = printed[-1].partition("=")
    assert name == "ids"
    # what the service saw
    journal = emulator.journal()
    called = requests(journal)
    assert [(e.action, None if e.action == "CopyImageSet" else e.expected_version, e.status) for e in called] == CALLED
    updates = [e for e in called if e.action == "UpdateImageSetMetadata"]
    assert [e.force for e in updates] == [False, False, age == "2026", False, True, True, True, False, False]
    assert [e.force for e in called if e.action == "CopyImageSet"] == [*[False] * 5, True, False]
    # what became of the image sets
    judge_image_sets(emulator, journal, ImageSets(*ids.split()))


def judge_image_sets(emulator: Emulator, journal: list[Entry], found: ImageSets) -> None:
    """Hold the image sets' states and documents against what the use cases say."""
    assert history(journal, found.copy) == HISTORY
    assert history(journal, found.primary)[-2:] == [(1, "DELETING"), (1, "DELETED")]
    one, two, three, four, five, six, seven, eight = documents(emulator, found.datastore_id, found.copy)
    assert list(instances(one)) == [FIRST, SECOND]
    assert two == one | {"Patient": {"DICOM": one["Patient"]["DICOM"] | {"PatientName": "MX^MX"}}}
    assert "StudyDescription" not in three["Study"]["DICOM"]
    assert list(instances(four)) == [FIRST]
    assert five == one
    assert instances(six)[FIRST]["DICOM"]["001910F9"] == "97"
    assert instances(six)[FIRST]["DICOMVRs"]["001910F9"] == "DS"
    assert instances(seven)[FIRST]["DICOM"]["00091001"] == "GE_GENESIS_DD"
    assert instances(eight).keys() == {NEW, SECOND}
    assert instances(eight)[NEW]["DICOM"]["SOPInstanceUID"] == NEW

    ours = {"Patient": one["Patient"], "Study": one["Study"]}
    for image_set_id in (found.part, found.promoted):
        *_, last = documents(emulator, found.datastore_id, image_set_id)
        assert {key: last[key] for key in ours} == ours
    *_, failed, forced = documents(emulator, found.datastore_id, found.other)
    assert list(instances(failed)) == [FIRST]
    assert list(instances(forced)) == [FIRST, SECOND]
    assert forced["Patient"]["DICOM"]["PatientID"] == "OTHER"


@pytest.mark.parametrize(
    ("required", "raised"),
    [pytest.param("", pytest.skip.Exception, id="skipped"), pytest.param("1", pytest.fail.Exception, id="failed")],
)
def test_a_client_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, required: str, raised: type[BaseException]
) -> None:
    monkeypatch.setenv("BULKEDIT_REQUIRE_CLIENTS", required)
    with pytest.raises(raised, match="the SDK of nobody is not installed"):
        installed(Client("nobody", [], "the SDK of nobody is not installed"))
