"""The commands by name, in the order of use: all that `--help` shows of them without importing their modules."""

from __future__ import annotations

from typing import Final, NamedTuple


class CommandPlace(NamedTuple):
    """Where the function of a command is, and the first line of its help."""

    module: str  # of the package bulkedit.cli; the function has the command's name
    summary: str


# a test holds the summaries to the functions
COMMANDS: Final = {
    "demo": CommandPlace(
        "demo", "Watch an edit list become applied edits and a ledger: no account, no network, under a minute."
    ),
    "plan": CommandPlace(
        "plan",
        "Check an edit list and plan its calls. Sends nothing that writes.",
    ),
    "apply": CommandPlace(
        "apply",
        "Apply a plan, or an edit list at once. Asks first on a terminal.",
    ),
    "resume": CommandPlace(
        "apply",
        "Go on with a run that was stopped: first what is in doubt, then what is left.",
    ),
    "status": CommandPlace(
        "status",
        "Where a run stands, also while it is running.",
    ),
    "report": CommandPlace(
        "report", "What became of every edit: the numbers, and the edits that were not applied with the reason."
    ),
    "verify": CommandPlace(
        "verify",
        "Read back what a run has changed, hold every applied edit against the store, and name each difference.",
    ),
    "revert": CommandPlace(
        "revert", "Plan the undoing of a run: each image set back to its version before it. Sends nothing that writes."
    ),
    "inventory": CommandPlace(
        "inventory", "Take a snapshot of a data store: every image set with its study, patient and accession number."
    ),
    "deid": CommandPlace(
        "deid",
        "Derive the edits that de-identify image sets, as an edit list to review, plan and apply like any other.",
    ),
    "audit": CommandPlace(
        "audit", "Look for what still identifies patients after a de-identification run was applied."
    ),
    "clean": CommandPlace(
        "clean", "Remove drafts that a kill or a power cut has left. They hold values of edits or metadata."
    ),
    "emulate": CommandPlace(
        "emulate",
        "Run a local HealthImaging for any AWS SDK or the AWS CLI, until Ctrl-C.",
    ),
}
