"""The words that a person reads: at most two of the project's old dialect in a thousand lines, and none in help."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.generated import commands

ROOT = Path(__file__).parents[1]
AT_MOST = 2.0  # in 1,000 lines
# CONTRIBUTING.md says what to write instead; "is None" is Python
DIALECT = re.compile(
    r"\b((?:is|are|Is|Are) none|(?i:stands?|anew|by lot|gone on with|held against|told of|nobody|whoever|somebody))\b"
)


def texts() -> dict[str, str]:
    """The package, its documentation, and the papers beside it, by path."""
    files = [
        *(ROOT / "bulkedit").rglob("*.py"),
        *(ROOT / "bulkedit").rglob("*.html"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
    ]
    return {str(file.relative_to(ROOT)): file.read_text() for file in files}


def test_the_dialect_is_rare() -> None:
    found = {path: Counter(word.lower() for word in DIALECT.findall(text)) for path, text in texts().items()}
    lines = sum(text.count("\n") for text in texts().values())
    count = sum(words.total() for words in found.values())
    worst = sorted(((words.total(), path, dict(words)) for path, words in found.items()), reverse=True)[:10]
    assert 1000 * count / lines <= AT_MOST, f"{count} in {lines:,} lines, most of them in:\n" + "\n".join(
        map(str, worst)
    )


def test_help_is_free_of_it() -> None:
    for name, command in commands().items():
        text = "\n".join([command.help, *(getattr(parameter, "help", None) or "" for parameter in command.params)])
        assert not DIALECT.findall(text), name
