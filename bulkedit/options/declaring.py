"""How an option is declared, and how the declarations of a dataclass are read and checked.

```python
rate: Annotated[str, Option("Calls to send.", unit="auto|N/s", group=Group.PACE, common=True)] = "auto"
```
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
    """Under which title `--help-all` has an option that is not among the most used."""

    LIST = "Edit list"
    SELECT = "Image sets by study, series, accession number, patient or study id"
    ESTIMATE = "Estimate"
    PACE = "Pace"
    TROUBLE = "Conflicts and errors"
    AWS = "AWS"
    FILES = "Files"
    RULES = "Rules"
    TIME = "Quotas, time and faults"
    ACCESS = "Access"
    DEID = "Profile and key"
    WHICH = "Which image sets"
    READING = "Reading back"
    UNDOING = "What to undo"


class Config(StrEnum):
    """Which `config.toml` may set an option."""

    ANY = "any"  # also one beside the edit list
    OWN = "own"  # only that of the user: an edit list and its folder may come from others
    NEVER = "never"  # what is agreed to, or is of one call of the command, is typed each time


@dataclass(frozen=True, slots=True)
class Option:
    """What is said of an option beside its type and default.

    ``unit``: what its value is, such as SECONDS; None: its choices, or what its type says. ``flags``: None: the name of
    the field. ``variables``: without BULKEDIT_; None: ``prefix`` and the first flag. ``common``: whether `--help` shows
    it, not only `--help-all`. ``least`` and ``most`` bound a number.
    ``count``: its value is how often it is given. ``parse`` reads what is typed, if a text is no value of the type; it
    raises UsageError.
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
    """What is said of a word that is given without a flag. ``edit_list``: its folder may have a `config.toml`."""

    help: str
    unit: str
    edit_list: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """A field with what is declared of it."""

    name: str
    kind: Any  # its type, without None
    said: Option | Argument
    default: Any  # `dataclasses.MISSING` if it has to be given

    @property
    def flags(self) -> tuple[str, ...]:
        """Its names on the command line; the one that texts use comes first."""
        given = self.said.flags if isinstance(self.said, Option) else None
        return given or (f"--{self.name.replace('_', '-')}",)

    @property
    def variables(self) -> list[str]:
        """Its names in the environment; the one that texts use comes first."""
        if isinstance(self.said, Argument):
            return []
        by_rule = self.said.prefix + self.flags[0].strip("-").replace("-", "_").upper()
        return [f"BULKEDIT_{name}" for name in self.said.variables or (by_rule,)]

    @property
    def key(self) -> str:
        """Its name in `config.toml`: the variable in small letters, without BULKEDIT_."""
        return self.variables[0].removeprefix("BULKEDIT_").lower()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be; none if it may be others."""
        if isinstance(self.kind, type) and issubclass(self.kind, Enum):
            return tuple(map(str, self.kind))
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def unit(self) -> str | None:
        """What its value is."""
        return self.said.unit or "|".join(self.choices) or None

    @property
    def typed(self) -> object:
        """The type of what is typed for it."""
        if isinstance(self.said, Option) and self.said.parse is not None:
            return str
        return list[get_args(self.kind)[0]] if get_origin(self.kind) is tuple else self.kind  # type: ignore[misc]

    def read(self, value: object) -> object:
        """What is typed, as the field has it. Raises UsageError."""
        if isinstance(self.said, Option) and self.said.parse is not None and isinstance(value, str):
            return self.said.parse(value)
        if get_origin(self.kind) is tuple:
            return tuple(value) if isinstance(value, Iterable) else ()
        return value

    def problem(self, value: object) -> str | None:
        """What is wrong with a value of the right type, without the value; None if nothing is."""
        if self.choices and value not in self.choices:
            return f"is {' or '.join(filter(None, (', '.join(self.choices[:-1]), self.choices[-1])))}"
        if not isinstance(self.said, Option) or not isinstance(value, int | float):
            return None
        if self.said.least is not None and not value >= self.said.least:
            return f"is at least {self.said.least:g}"
        if self.said.most is not None and not value <= self.said.most:
            return f"is at most {self.said.most:g}"
        return None


_DECLARED: Final[dict[type, tuple[Declared | Nested, ...]]] = {}  # read once


def declared(kind: type) -> tuple[Declared | Nested, ...]:
    """The fields of a dataclass that are declared, in their order; a field that is such a dataclass is a `Nested`."""
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
            said = [one for one in extras if isinstance(one, Option | Argument)]
            found += [Declared(field.name, _without_none(inner), one, default) for one in said]
    return _DECLARED.setdefault(kind, tuple(found))


@dataclass(frozen=True, slots=True)
class Nested:
    """A field of a command's options that holds options which other commands have too."""

    name: str
    kind: type
    config: Config | None = None  # in place of that of each option


def _without_none(hint: object) -> object:
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = [one for one in get_args(hint) if one is not NoneType]
    return hint


def all_declared(kind: type) -> dict[str, Declared]:
    """The declared fields of a dataclass and its parts by name. A name that parts share is one option."""
    found: dict[str, Declared] = {}
    for one in declared(kind):
        more = {one.name: one} if isinstance(one, Declared) else _of_nested(one)
        for name, declaration in more.items():
            found.setdefault(name, declaration)
    return found


def _of_nested(nested: Nested) -> dict[str, Declared]:
    found = all_declared(nested.kind)
    if nested.config is None:
        return found
    said = {name: (one, one.said) for name, one in found.items()}
    return {
        name: replace(one, said=replace(about, config=nested.config)) if isinstance(about, Option) else one
        for name, (one, about) in said.items()
    }


def made(kind: type[_T], values: Mapping[str, object]) -> _T:
    """A dataclass from values by name, with its parts. Raises what it raises."""
    parts: dict[str, object] = {one.name: made(one.kind, values) for one in declared(kind) if isinstance(one, Nested)}
    own = {one.name: one.read(values[one.name]) for one in declared(kind) if isinstance(one, Declared)}
    return kind(**parts, **own)


def check(options: object) -> None:
    """Raises UsageError for a value that is not one of the choices or out of bounds; texts of an enum become its own.

    To be called by ``__post_init__``: what is wrong is said before anything else happens.
    """
    for one in declared(type(options)):
        if isinstance(one, Nested) or (value := getattr(options, one.name)) is None:
            continue
        if problem := one.problem(value):
            raise UsageError(f"`{one.name}` {problem}.")
        if isinstance(one.kind, type) and issubclass(one.kind, Enum):
            object.__setattr__(options, one.name, one.kind(value))


def require_together(options: object, names: Iterable[str]) -> None:
    """Raises UsageError if some of the options are given and others are not."""
    names = list(names)
    if len({getattr(options, name) is None for name in names}) > 1:
        raise UsageError(f"{' and '.join(f'`{name}`' for name in names)} go together.")
