"""Tables as Markdown, plots as PNG, and the description of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIGURES = Path(__file__).parent / "figures"
BLUE, GREY = "#1f77b4", "#9aa0a6"


def machine() -> str:
    """Return cores, memory and Python version."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model or platform.machine()}), {memory:.0f} GiB, Python {platform.python_version()}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table with numbers aligned to the right."""
    texts = [
        [cell if isinstance(cell, str) else f"{cell:,.4g}" if cell < 100 else f"{cell:,.0f}" for cell in row]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    right = [all(not isinstance(row[at], str) for row in rows) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            f"{cell:>{width}}" if of else f"{cell:<{width}}"
            for cell, width, of in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (width - 1) + ":") if of else "-" * width for width, of in zip(widths, right, strict=True)]
    return "\n".join([line(head), line(rule), *map(line, texts)])


def plot(path: Path, size: tuple[float, float], panels: Sequence[Callable[[Any], None]]) -> None:
    """Draw panels next to each other as a PNG; each gets its matplotlib axes."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    for axis, draw in zip(axes[0], panels, strict=True):
        axis.spines[["top", "right"]].set_visible(False)
        draw(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def bars(title: str, names: Sequence[str], values: Sequence[float], *, ours: int = 0) -> Callable[[Any], None]:
    """Draw horizontal bars with their values; ours is highlighted."""

    def draw(axis: Any) -> None:
        colours = [BLUE if at == ours else GREY for at in range(len(names))]
        drawn = axis.barh(names, values, color=colours)
        axis.bar_label(drawn, fmt=lambda value: f" {value:,.3g}" if value < 1000 else f" {value:,.0f}")
        axis.invert_yaxis()
        axis.margins(x=0.18)
        axis.set_title(title, loc="left", fontsize=10)

    return draw
