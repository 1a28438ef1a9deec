"""topology.shape: the words in which the format of a topology file is written down. errors → *shape* → spec → read.

The format is data: a `Place` (a section of the file) is a list of `Setting`s, and every setting has a `Type`. The reader, the
JSON Schema, the reference page and every "did you mean" walk over the same tables, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Type:
    """What one setting may hold. form says which of the other members count.

    text (pattern, names) | number, integer (low ≤ value ≤ high, value > above) | boolean | choice (choices) | list (item,
    items_min) | mapping (item, names_pattern: the user's own names as keys) | section (place) | kinds (places, one of them by
    the word in the setting `selector`) | one_of (places, by the section's only key) | either (options, by the form of the
    YAML node) | free (any YAML; the checks look at it later).
    """

    form: str
    low: float | None = None
    above: float | None = None
    high: float | None = None
    pattern: str = ""
    pattern_words: str = ""
    choices: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    item: Type | None = None
    items_min: int = 0
    place: str = ""
    places: tuple[tuple[str, str], ...] = ()
    selector: str = "kind"
    options: tuple[Type, ...] = ()
    nullable: bool = False

    def place_of(self, word: str) -> str | None:
        """The place that `word` selects, None where the format knows no such word."""
        return dict(self.places).get(word)

    def words(self) -> tuple[str, ...]:
        """The words that choose among the places."""
        return tuple(word for word, _ in self.places)


@dataclass(frozen=True)
class Setting:
    """One line a user may write. default: as it would stand in the file, None where the absence itself is the default.

    example: a value as YAML text; doc: one line, from the user's side. one_of_these: the setting is one of several of which
    exactly one must be given.
    """

    name: str
    type: Type
    doc: str
    example: str
    required: bool = False
    default: str | float | bool | tuple[float, ...] | None = None
    one_of_these: bool = False


@dataclass(frozen=True)
class Place:
    """A section of the file. title: how messages and the reference page call it, such as "a linear model"."""

    name: str
    title: str
    doc: str
    settings: tuple[Setting, ...]

    def setting(self, name: str) -> Setting | None:
        """The setting of that name."""
        return next((setting for setting in self.settings if setting.name == name), None)

    def names(self) -> tuple[str, ...]:
        """All settings, in the order of the table."""
        return tuple(setting.name for setting in self.settings)

    def alternatives(self) -> tuple[str, ...]:
        """The settings of which exactly one must be given; () where the place has no such choice."""
        return tuple(setting.name for setting in self.settings if setting.one_of_these)


def place(name: str, title: str, doc: str, *settings: Setting) -> Place:
    """A place whose settings simply follow."""
    return Place(name, title, doc, settings)


def text(*, pattern: str = "", words: str = "", names: tuple[str, ...] = ()) -> Type:
    """Any text, or text of a pattern, or the name of something in the file."""
    return Type("text", pattern=pattern, pattern_words=words, names=names)


def number(*, low: float | None = None, above: float | None = None, high: float | None = None, nullable: bool = False) -> Type:
    """A finite number."""
    return Type("number", low=low, above=above, high=high, nullable=nullable)


def integer(*, low: float | None = None, high: float | None = None) -> Type:
    """A whole number."""
    return Type("integer", low=low, high=high)


def choice(*choices: str) -> Type:
    """One of some words."""
    return Type("choice", choices=choices)


def listing(item: Type, *, at_least: int = 0) -> Type:
    """A list of things of one type."""
    return Type("list", item=item, items_min=at_least)


def mapping(item: Type, *, pattern: str = "", words: str = "", at_least: int = 0) -> Type:
    """The user's own names, each with a thing of one type."""
    return Type("mapping", item=item, pattern=pattern, pattern_words=words, items_min=at_least)


def section(place: str) -> Type:
    """Settings of one place."""
    return Type("section", place=place)


def kinds(selector: str = "kind", **places: str) -> Type:
    """Settings of one of several places: the setting `selector` says which."""
    return Type("kinds", places=tuple(places.items()), selector=selector)


def one_of(**places: str) -> Type:
    """A section with one key, which says the place of the settings below it."""
    return Type("one_of", places=tuple(places.items()))


def either(*options: Type) -> Type:
    """One of several types, told apart by the form of the YAML."""
    return Type("either", options=options)


BOOLEAN = Type("boolean")
FREE = Type("free")


def describe(kind: Type) -> str:
    """The type in words for `expected:` lines and the reference page, such as "a number from 0 to 1"."""
    plain = {"text": "text", "boolean": "true or false", "section": "settings", "free": "anything", "kinds": "settings"}
    if kind.form in ("number", "integer"):
        only = kind.low if kind.low == kind.high else None
        words = ("an integer" if kind.form == "integer" else "a number") + _bounds(kind) if only is None else _plain(only)
    elif kind.form == "choice":
        words = "one of: " + ", ".join(kind.choices)
    elif kind.form == "list" and kind.item is not None:
        words = "a list" + (f" of at least {kind.items_min} items" if kind.items_min > 1 else "") + ", each " + describe(kind.item)
    elif kind.form == "mapping" and kind.item is not None:
        words = "names, each with " + describe(kind.item)
    elif kind.form == "one_of":
        words = "exactly one of: " + ", ".join(kind.words())
    elif kind.form == "either":
        words = ", or ".join(describe(option) for option in kind.options)
    elif kind.names:
        words = "the name of " + _either([with_article(name) for name in kind.names])
    else:
        words = kind.pattern_words or plain[kind.form]
    return words + (" or null" if kind.nullable else "")


def _bounds(kind: Type) -> str:
    if kind.above is not None:
        return f" above {kind.above:g}" + (f", at most {_plain(kind.high)}" if kind.high is not None else "")
    if kind.low is not None and kind.high is not None:
        return f" from {_plain(kind.low)} to {_plain(kind.high)}"
    if kind.low is not None:
        return f", at least {_plain(kind.low)}"
    return ""


def _plain(value: float | None) -> str:
    return f"{value:.10g}" if value is not None else ""


def with_article(noun: str) -> str:
    """A stream, an emit stage."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
