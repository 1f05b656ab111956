"""The pictures of README and docs: a run in the terminal, and its report page.

    python -m benchmarks.pictures [--into docs/pictures]     (or: make pictures)

Starts an emulator with the image sets of `bulkedit demo` and types plan, apply, verify and report into a terminal.
termtosvg records it as an animated SVG. Then a headless Chromium opens the report page of that run: wide, narrow, dark.
Times, ports and ids differ each time; nothing else does. Takes about a minute.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Final

import anyio
from PIL import Image

from bulkedit.emulator import CompletionTime, Settings, serve
from bulkedit.emulator.dicom_import.importer import read_folder
from tests.cli.browser import Page, browser

ROOT: Final = Path(__file__).parents[1]
SESSION: Final = (
    "bulkedit plan demo.csv --inventory inventory.parquet -o plans/demo",
    "bulkedit apply plans/demo --run runs/demo",
    "bulkedit verify runs/demo",
    "bulkedit report runs/demo --html report.html",
)
COLUMNS, LINES = 100, 34
# colour scheme, width in CSS pixels, height of what is shown
SHOTS: Final = {
    "report": ("light", 1200, 1290),
    "report-narrow": ("light", 600, 1290),
    "report-dark": ("dark", 1200, 1290),
}
_QUOTA_SCALE: Final = 16.0  # of 0.25 updates a second, so that the recording is short
_TYPE_IN: Final = r"""
type_in() {
    printf '\e[32m$\e[0m '
    for ((i = 0; i < ${#1}; i++)); do printf %s "${1:i:1}"; sleep 0.03; done
    echo
}"""
_QUESTION: Final = b"[y/N]:"
_COLOURS: Final = 256
_MOST_BYTES: Final = 150_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=ROOT / "docs/pictures", help="the folder of the pictures")
    into = parser.parse_args().into.resolve()
    into.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        record(folder, into / "run.svg")
        anyio.run(show, folder, into)
    for path in sorted(into.iterdir()):
        print(f"{path.name:<20} {path.stat().st_size:>9,} bytes")


def record(folder: Path, picture: Path) -> None:
    """Type the session into a terminal, against an emulator, and keep what the terminal shows."""
    shutil.copy(ROOT / "samples/demo.csv", folder / "demo.csv")
    (folder / "session.sh").write_text(script(), "utf-8")
    settings = Settings(scale=_QUOTA_SCALE, completion_time=CompletionTime(seconds=0.4))
    files = resources.files("pydicom").joinpath("data/test_files")
    with resources.as_file(files) as dicom, serve(settings) as emulator:
        for image_set in read_folder(dicom).image_sets:
            emulator.add(image_set.document)
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "BULKEDIT_"))},
            **emulator.environment(),
            "BULKEDIT_ENDPOINT_URL": str(emulator),
            "BULKEDIT_DATASTORE": emulator.datastore_id,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        subprocess.run(
            ["bulkedit", "inventory", "-o", "inventory.parquet"], cwd=folder, env=environment, check=True, text=True
        )
        words = [
            *(sys.executable, "-m", "termtosvg", str(picture), "--command", "bash session.sh"),
            *("--screen-geometry", f"{COLUMNS}x{LINES}", "--template", "window_frame", "--loop-delay", "8000"),
            *("--min-frame-duration", "40", "--max-frame-duration", "1500"),
        ]
        with subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        ) as recorder:
            answer(recorder)
        assert recorder.returncode == 0


def answer(recorder: subprocess.Popen[bytes]) -> None:
    """Say yes to the question of `apply`, and wait for the end."""
    assert recorder.stdin is not None
    assert recorder.stdout is not None
    seen = b""
    while read := recorder.stdout.read(65536):
        seen += read
        if seen.rstrip(b" ").endswith(_QUESTION):
            time.sleep(1)  # so that a reader sees the question
            recorder.stdin.write(b"y\n")
            seen = b""


def script() -> str:
    """A shell script that shows each command as if it were typed, and runs it."""
    shown = [f"type_in {shlex.quote(command)}\n{command}\nsleep 1.5\necho" for command in SESSION]
    return "\n".join([_TYPE_IN, *shown])


async def show(folder: Path, into: Path) -> None:
    """Open the report page in a browser, and keep what it shows."""
    async with browser(folder / "profile") as page:
        await page.ask("Emulation.setScrollbarsHidden", hidden=True)
        for name, (scheme, width, height) in SHOTS.items():
            await page.look(scheme=scheme, width=width)
            await page.open(folder / "report.html")
            (into / f"{name}.png").write_bytes(await shot(page, width, height))


async def shot(page: Page, width: int, height: int) -> bytes:
    """The top of a page as a small PNG."""
    picture = Image.open(io.BytesIO(await page.picture())).convert("RGB")
    picture = picture.crop((0, 0, width, min(height, picture.height))).quantize(
        _COLOURS,
        Image.Quantize.MAXCOVERAGE,  # keeps the colours of small marks
        dither=Image.Dither.NONE,
    )
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    assert written.tell() < _MOST_BYTES, (written.tell(), _MOST_BYTES)
    return written.getvalue()


if __name__ == "__main__":
    main()
