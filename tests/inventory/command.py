"""The command line with `inventory` among its commands, as a process of its own."""

from __future__ import annotations

from bulkedit.cli.app import _guarded, app
from bulkedit.cli.inventory import inventory

if "inventory" not in {found.name or getattr(found.callback, "__name__", "") for found in app.registered_commands}:
    app.command()(_guarded(inventory))

__all__ = ["app"]

if __name__ == "__main__":
    app(prog_name="bulkedit")
