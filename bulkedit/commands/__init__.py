"""What the commands do, without words and talk: below `bulkedit.cli`, which adds both, and `bulkedit.library`."""

from bulkedit.commands.applying import (
    GoingOn,
    RunOptions,
    engine_of,
    removed_unless_started,
    require_datastore,
    require_deletion_asked,
    require_digest,
)
from bulkedit.commands.planning import (
    DEFAULT_QUOTA,
    DEFAULT_RAISED_QUOTA,
    Listener,
    ListOptions,
    plan_list,
    problems_text,
)
from bulkedit.commands.reconciling import Reconciled
from bulkedit.commands.satisfying import Looked
from bulkedit.commands.where import Where, connection_of

__all__ = [
    "DEFAULT_QUOTA",
    "DEFAULT_RAISED_QUOTA",
    "GoingOn",
    "ListOptions",
    "Listener",
    "Looked",
    "Reconciled",
    "RunOptions",
    "Where",
    "connection_of",
    "engine_of",
    "plan_list",
    "problems_text",
    "removed_unless_started",
    "require_datastore",
    "require_deletion_asked",
    "require_digest",
]
