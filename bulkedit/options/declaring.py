"""Declares options as fields of a dataclass, reads the declarations, and checks values.

Example::

    rate: Annotated[str, Option("Rate of calls.", unit="auto|N/s", group=Group.PACE, common=True)] = "auto"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_T = TypeVar("_T")


class Group(StrEnum):
    """The heading of an option in `--help-all`. Common options have none."""

    LIST = "Edit list"
    SELECT = "Image sets by study, series, accession number, patient or study id"
    ESTIMATE = "Estimate"
    PACE = "Rates and concurrency"
    TROUBLE = "Conflicts and errors"
    AWS = "AWS"
    FILES = "Files"
    RULES = "Behaviour"
    TIME = "Quotas, time and faults"
    ACCESS = "Access"
    DEID = "Profile and key"
    WHICH = "Which image sets"
    READING = "What to verify"
    UNDOING = "What to undo"


class Config(StrEnum):
    """Which `config.toml` may set an option."""

    ANY = "any"  # also one beside the edit list
    OWN = "own"  # only the user's own: an edit list and its folder may come from another person
    NEVER = "never"  # none: the option is a confirmation, or applies to a single call of the command


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of an option; its type and default are those of the field.

    ``unit``: placeholder of the value, such as SECONDS; default: its choices, or its type. ``flags``: default: the
    field's name. ``variables``: without BULKEDIT_; default: ``prefix`` and the first flag. ``common``: `--help` shows
    it, not only `--help-all`. ``least`` and ``most``: limits of a number. ``count``: the value is the number of times
    that the flag is given. ``parse``: converts the typed text to the field's type; raises UsageError.
    """

    help: str
    unit: str | None = None
    flags: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None
    group: Group | None = None
    common: bool = False
    least: float | None = None
    most: float | None = None
    config: Config = Config.ANY
    prefix: str = ""
    count: bool = False
    parse: Callable[[str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """The declaration of a positional argument. ``edit_list``: a `config.toml` beside the file is read."""

    help: str
    unit: str
    edit_list: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """A field with its declaration."""

    name: str
    kind: Any  # its type, without None
    declaration: Option | Argument
    default: Any  # `dataclasses.MISSING` if it is required

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags. Messages use the first one."""
        given = self.declaration.flags if isinstance(self.declaration, Option) else None
        return given or (f"--{self.name.replace('_', '-')}",)

    @property
    def variables(self) -> list[str]:
        """Its environment variables. Messages use the first one."""
        if isinstance(self.declaration, Argument):
            return []
        by_rule = self.declaration.prefix + self.flags[0].strip("-").replace("-", "_").upper()
        return [f"BULKEDIT_{name}" for name in self.declaration.variables or (by_rule,)]

    @property
    def key(self) -> str:
        """Its name in `config.toml`: the variable in lower case, without BULKEDIT_."""
        return self.variables[0].removeprefix("BULKEDIT_").lower()

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values; empty if other values are allowed too."""
        if isinstance(self.kind, type) and issubclass(self.kind, Enum):
            return tuple(map(str, self.kind))
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def unit(self) -> str | None:
        """The placeholder of its value."""
        return self.declaration.unit or "|".join(self.choices) or None

    @property
    def typed(self) -> object:
        """The type of the typed value, before `read`."""
        if isinstance(self.declaration, Option) and self.declaration.parse is not None:
            return str
        return list[get_args(self.kind)[0]] if get_origin(self.kind) is tuple else self.kind  # type: ignore[misc]

    def read(self, value: object) -> object:
        """Convert the typed value to the field's type. Raises UsageError."""
        if isinstance(self.declaration, Option) and self.declaration.parse is not None and isinstance(value, str):
            return self.declaration.parse(value)
        if get_origin(self.kind) is tuple:
            return tuple(value) if isinstance(value, Iterable) else ()
        return value

    def problem(self, value: object) -> str | None:
        """What is wrong with a value of the right type, without quoting it; None if it is valid."""
        if self.choices and value not in self.choices:
            return f"must be {' or '.join(filter(None, (', '.join(self.choices[:-1]), self.choices[-1])))}"
        if not isinstance(self.declaration, Option) or not isinstance(value, int | float):
            return None
        if self.declaration.least is not None and not value >= self.declaration.least:
            return f"must be at least {self.declaration.least:g}"
        if self.declaration.most is not None and not value <= self.declaration.most:
            return f"must be at most {self.declaration.most:g}"
        return None


_DECLARED: Final[dict[type, tuple[Declared | Nested, ...]]] = {}  # cache


def declared(kind: type) -> tuple[Declared | Nested, ...]:
    """The declared fields of a dataclass, in order. A field that is itself a dataclass of options is a `Nested`."""
    if (known := _DECLARED.get(kind)) is not None:
        return known
    hints = get_type_hints(kind, include_extras=True)
    found: list[Declared | Nested] = []
    for field in fields(kind):
        hint = hints[field.name]
        inner, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        if is_dataclass(inner) and isinstance(inner, type):
            found.append(Nested(field.name, inner, next((one for one in extras if isinstance(one, Config)), None)))
        else:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            declarations = [one for one in extras if isinstance(one, Option | Argument)]
            found += [Declared(field.name, _without_none(inner), one, default) for one in declarations]
    return _DECLARED.setdefault(kind, tuple(found))


@dataclass(frozen=True, slots=True)
class Nested:
    """A field that is a dataclass of options, which several commands share."""

    name: str
    kind: type
    config: Config | None = None  # overrides the `Config` of each option


def _without_none(hint: object) -> object:
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = [one for one in get_args(hint) if one is not NoneType]
    return hint


def all_declared(kind: type) -> dict[str, Declared]:
    """The declared fields of a dataclass and its nested ones, by name. Fields with the same name are one option."""
    found: dict[str, Declared] = {}
    for one in declared(kind):
        more = {one.name: one} if isinstance(one, Declared) else _of_nested(one)
        for name, declared_ in more.items():
            found.setdefault(name, declared_)
    return found


def _of_nested(nested: Nested) -> dict[str, Declared]:
    found = all_declared(nested.kind)
    if nested.config is None:
        return found
    declarations = {name: (one, one.declaration) for name, one in found.items()}
    return {
        name: replace(one, declaration=replace(about, config=nested.config)) if isinstance(about, Option) else one
        for name, (one, about) in declarations.items()
    }


def made(kind: type[_T], values: Mapping[str, object]) -> _T:
    """Make a dataclass, nested ones included, from typed values by field name. Raises UsageError."""
    parts: dict[str, object] = {one.name: made(one.kind, values) for one in declared(kind) if isinstance(one, Nested)}
    own = {one.name: one.read(values[one.name]) for one in declared(kind) if isinstance(one, Declared)}
    return kind(**parts, **own)


def check(options: object) -> None:
    """Raises UsageError for a value that is not allowed. Replaces a str by its enum member.

    For ``__post_init__``, so that invalid options are reported before anything else happens.
    """
    for one in declared(type(options)):
        if isinstance(one, Nested) or (value := getattr(options, one.name)) is None:
            continue
        if problem := one.problem(value):
            raise UsageError(f"`{one.name}` {problem}.")
        if isinstance(one.kind, type) and issubclass(one.kind, Enum):
            object.__setattr__(options, one.name, one.kind(value))


def require_together(options: object, names: Iterable[str]) -> None:
    """Raises UsageError if only some of these options are given."""
    names = list(names)
    if len({getattr(options, name) is None for name in names}) > 1:
        raise UsageError(f"{' and '.join(f'`{name}`' for name in names)} must be given together.")
