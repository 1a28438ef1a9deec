"""topology.reference: the format for people, as a page of Markdown. spec → *reference* → docs/topology-reference.md."""

from __future__ import annotations

from stream_infer.topology.client import CHOICES, DENIED, FLAGS, NUMBERS, PATHS, SECRETS, TEXTS
from stream_infer.topology.shape import Place, Setting, Type, describe
from stream_infer.topology.spec import PLACES

_HEAD = """# The topology file

This page is made from the tables that the reader itself walks over (`stream_infer/topology/spec.py`); a test fails when it is stale.
Editors complete and check a topology with `schemas/topology.schema.json`: put this line first in the file.

```yaml
# yaml-language-server: $schema=schemas/topology.schema.json
```

Names at the left margin are yours: they become topic names, metric labels and column names, so each means one thing in the whole
file. Units stand in the names (`window_s`, `wait_ms_max`). Text needs no quotes, numbers must have none, and a boolean is `true` or
`false`: `yes`, `on` and `12:30:00` are text like any other. Anchors, aliases and tags are refused. `stream-infer check` prints every
problem at once, each with its line and a way to fix it.
"""

_TOPICS = """## Internal topics

| topic | what it holds |
| --- | --- |
| `NAME.SECTION.state` | changes of the state of each task; compacted |
| `NAME.STAGE.by_FIELD` | rows on their way to the stage, under another key, many to a record: `stream-infer show` prints them |
| `NAME.decisions` | what learners saw of each answered row, and the fields that its prediction leaves out, likewise |
| `NAME.joined` | decisions with their feedback, likewise |
| `NAME.models` | versions of models and policies; compacted |
| `NAME.cuts` | which rows were worked through together: what a replay needs to repeat an answer bit for bit |
| `NAME.rejects` | rows that could not be used, where no emit stage names a stream for them |
"""


def reference_text() -> str:
    """The text of docs/topology-reference.md."""
    parts = [_HEAD, *(_place(place) for place in PLACES.values()), _client(), _TOPICS]
    return "\n".join(parts)


def anchor(name: str) -> str:
    """The link target of a place."""
    return name.replace(".", "-").replace("_", "-")


def _place(place: Place) -> str:
    title = place.title[0].upper() + place.title[1:]
    lines = [f'<a id="{anchor(place.name)}"></a>', f"## {title}", "", place.doc, ""]
    alternatives = place.alternatives()
    if alternatives:
        lines += ["Exactly one of " + ", ".join(f"`{name}`" for name in alternatives) + ".", ""]
    if place.settings:
        lines += ["| setting | what it is | value | default | example |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(setting) for setting in place.settings]
        lines.append("")
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    default = "**required**" if setting.required else "" if setting.default is None else f"`{_default(setting)}`"
    cells = [f"`{setting.name}`", setting.doc, _value(setting.type), default, f"`{setting.example}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting) -> str:
    if isinstance(setting.default, bool):
        return "true" if setting.default else "false"
    if isinstance(setting.default, tuple):
        return "[" + ", ".join(f"{item:g}" for item in setting.default) + "]"
    return str(setting.default)


def _value(kind: Type) -> str:
    """The type in words, with links to the places below it."""
    if kind.form == "section":
        return f"[settings](#{anchor(kind.place)})"
    if kind.form in ("kinds", "one_of"):
        links = ", ".join(f"[{word}](#{anchor(place)})" for word, place in kind.places)
        return f"`{kind.selector}`: {links}" if kind.form == "kinds" else f"exactly one of: {links}"
    if kind.form == "mapping" and kind.item is not None:
        return "names, each with " + _value(kind.item)
    if kind.form == "list" and kind.item is not None:
        return "a list" + (f" of at least {kind.items_min} items" if kind.items_min > 1 else "") + ", each " + _value(kind.item)
    if kind.form == "either":
        return ", or ".join(_value(option) for option in kind.options)
    return describe(kind)


def _client() -> str:
    lines = [
        '<a id="client"></a>',
        "## Client settings",
        "",
        "Settings of librdkafka, by their own names. Only these may stand in a topology, for some others load code, run commands or",
        "weaken the guarantees. Any of them may be `{env: NAME}` or `{file: path}`.",
        "",
        "- secrets, only as `{env: NAME}` or `{file: path}`: " + _names(SECRETS),
        "- paths, below the folder of the topology: " + _names(PATHS),
        *(f"- `{name}`: {', '.join(choices)}" for name, choices in CHOICES.items()),
        "- whole numbers: " + _names(NUMBERS),
        "- texts: " + _names(TEXTS),
        "- true or false: " + _names(FLAGS),
        "",
        "Refused, and why:",
        "",
        *(f"- `{name}`: {why}" for name, why in DENIED.items()),
        "",
    ]
    return "\n".join(lines)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
