"""topology.read_settings: what a section lacks, has too much, or leaves to its defaults. shape → *read_settings* → read."""

from __future__ import annotations

from stream_infer.errors import Problem
from stream_infer.topology.read_scalars import Entry
from stream_infer.topology.shape import Place, Setting
from stream_infer.topology.spec import PLACES
from stream_infer.topology.suggest import closest, listed
from stream_infer.topology.values import Data, Findings, Section, Value


def find_missing(place: Place, section: Section, found: Findings) -> None:
    """Required settings that do not stand there, and choices of which none or two are made."""
    label = f"{section.label}: " if section.label else ""
    for setting in place.settings:
        if setting.required and setting.name not in section.given:
            found.at(section, f"{label}`{setting.name}` is missing", expected=setting.doc, fix=f"add `{setting.name}: {setting.example}`")
    given = [name for name in place.alternatives() if name in section.given]
    if place.alternatives() and not given:
        found.at(section, f"{label}it does not say what it is", expected="one of: " + ", ".join(place.alternatives()), fix=_example(place))
    elif len(given) > 1:
        found.at(
            section,
            f"{label}`{given[0]}` and `{given[1]}` exclude each other",
            expected="exactly one of: " + ", ".join(place.alternatives()),
            fix="make two of it, or remove one",
        )


def fill_defaults(place: Place, section: Section) -> None:
    """Values of settings that do not stand in the file; a section none of whose settings is required exists with its defaults."""
    here = (section.line, section.column, section.source)
    for setting in place.settings:
        if setting.name in section.given:
            continue
        data: Data = None
        if isinstance(setting.default, tuple):
            data = [Value(item, *here, given=False) for item in setting.default]
        elif setting.default is not None:
            data = setting.default
        elif setting.type.form == "section" and not any(s.required for s in PLACES[setting.type.place].settings):
            empty = Section(setting.type.place, setting.name, *here)
            fill_defaults(PLACES[setting.type.place], empty)
            data = empty
        if data is not None:
            section.values[setting.name] = Value(data, *here, given=False)


def find_unknown(place: Place, entry: Entry, kind: str, siblings: tuple[tuple[str, str], ...], found: Findings) -> Setting | None:
    """A problem for a setting that the place does not have. Returns the setting that was probably meant.

    kind, siblings: the place's own word, and (word, place) of the other kinds, of which one may have the setting.
    """
    others = [word for word, other in siblings if word != kind and PLACES[other].setting(entry.name) is not None]
    near = closest(entry.name, place.names())
    belongs = f"`{entry.name}` belongs to {' or '.join(others)}" if others else "remove it"
    fix = f"did you mean `{near}`?" if near else belongs
    expected = listed(place.names()) if place.settings else "no settings: {}"
    found.problems.append(
        Problem(
            found.file,
            entry.line,
            entry.column,
            f"{entry.label}unknown setting `{entry.name[:60]}` of {place.title}",
            entry.source,
            expected,
            fix,
        )
    )
    return place.setting(near) if near is not None else None


def _example(place: Place) -> str:
    first = next(setting for setting in place.settings if setting.one_of_these)
    return f"add for example `{first.name}: {first.example}`"
