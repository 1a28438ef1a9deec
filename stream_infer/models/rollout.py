"""models.rollout: changes of what answers, as they stand on the changes topic, and what they add up to. manifest → *rollout* → flow, cli.

The topic is one log without compaction: the log that tasks follow is the log that people read. A change has a number within its name
(1, 2, …) and holds only if it is the next one, so of two that were written at once the first on the log holds and the other never does,
for every reader and for ever: whoever writes reads back as far as its own record to know (compare-and-set by check after write). What
tasks add (a version is in effect from this offset on; it could not be installed; a canary went on) has no number, and is for people.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from stream_infer.models.base import model_error
from stream_infer.models.manifest import Manifest

FORMAT = 1
PUBLISH, PROMOTE, ROLLBACK, PIN, UNPIN, SHARE, RESTART = "publish", "promote", "rollback", "pin", "unpin", "share", "restart"
WORDS = (PUBLISH, PROMOTE, ROLLBACK, PIN, UNPIN, SHARE, RESTART)
IN_EFFECT, FAILED, STEP, REVERTED = "in effect", "install failed", "step", "reverted"  # what tasks write
TOLD = (IN_EFFECT, FAILED, STEP, REVERTED)


@dataclass(frozen=True)
class Change:
    """name: of a model or stage. number: of the change; what: one of WORDS; version: which is published or is to answer.

    effective_ms: event time from which it holds in a deterministic run; live it holds as soon as it is read and installed.
    writer: names the writing, so that it knows its own record again. shares: of a stage, by arm. golden: see manifest. payload: with a pin
    to a version that was learned, the version as the models topic held it, for the topic forgets.
    """

    name: str
    number: int
    what: str
    version: int = 0
    who: str = ""
    why: str = ""
    effective_ms: int = 0
    writer: str = ""
    manifest: Manifest | None = None
    golden: bytes = b""
    shares: tuple[tuple[str, float], ...] = ()
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """One JSON object."""
        given: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "number": self.number,
            "what": self.what,
            "version": self.version,
            "who": self.who,
            "why": self.why,
            "effective_ms": self.effective_ms,
            "writer": self.writer,
        }
        if self.manifest is not None:
            given["manifest"] = self.manifest.json()
        if self.golden:
            given["golden"] = base64.b64encode(self.golden).decode()
        if self.payload:
            given["payload"] = base64.b64encode(self.payload).decode()
        if self.shares:
            given["shares"] = dict(self.shares)
        return orjson.dumps(given)


@dataclass(frozen=True)
class Told:
    """What a task wrote. what: one of TOLD; number: of the change that it comes of; from offset of topic[partition] on, if it took effect.

    version: of a model, or the policy's within this task. section: of the task. Of a canary: figures, those that decided; at_ms, the event
    time of the first row with these shares.
    """

    name: str
    what: str
    number: int
    version: int
    section: str
    topic: str
    partition: int
    offset: int
    why: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    figures: tuple[tuple[str, float], ...] = ()
    at_ms: int | None = None

    def to_bytes(self) -> bytes:
        """One JSON object."""
        given: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "what": self.what,
            "of": self.number,
            "version": self.version,
            "who": f"{self.section}[{self.partition}]",
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "why": self.why,
        }
        if self.at_ms is not None:
            given["event_ms"] = self.at_ms
        if self.shares:
            given["shares"] = dict(self.shares)
        if self.figures:
            given["figures"] = dict(self.figures)
        return orjson.dumps(given)


def read_record(value: bytes) -> Change | Told | None:
    """A record of the changes topic; None for what a later version of this program wrote. ModelError for what is none."""
    try:
        given = orjson.loads(value)
        if given["format"] != FORMAT:
            return None
        what, shares = given["what"], tuple((str(arm), float(share)) for arm, share in given.get("shares", {}).items())
        if what in TOLD:
            plain = {name: given[name] for name in ("name", "what", "version", "topic", "partition", "offset", "why")}
            figures, section = tuple(given.get("figures", {}).items()), given["who"].rsplit("[", 1)[0]
            return Told(**plain, number=given["of"], section=section, shares=shares, figures=figures, at_ms=given.get("event_ms"))
        if what not in WORDS:
            return None
        manifest = Manifest.from_json(given["manifest"]) if "manifest" in given else None
        golden, payload = (base64.b64decode(given.get(name, ""), validate=True) for name in ("golden", "payload"))
        plain = {name: given[name] for name in ("name", "number", "what", "version", "who", "why", "effective_ms", "writer")}
        return Change(**plain, manifest=manifest, golden=golden, shares=shares, payload=payload)
    except (orjson.JSONDecodeError, binascii.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise model_error("the record is no change", "changes topic", got=repr(value[:200]), expected="JSON of a change") from error


@dataclass(frozen=True)
class Standing:
    """What the changes of one name add up to for a task. number: of the last change that held.

    current: the version that answers, 0 for the topology's own file; pending: the one that is being installed; before: those that
    answered before, the last one last, at most `kept`; known: what the versions among these were published with.
    shares: of a stage, as last set by hand; () before.
    """

    number: int = 0
    current: int = 0
    pending: int | None = None
    before: tuple[int, ...] = ()
    pinned: bool = False
    known: Mapping[int, Change] = field(default_factory=dict)
    shares: tuple[tuple[str, float], ...] = ()

    def holds(self, change: Change) -> bool:
        """Whether it is the next one."""
        return change.number == self.number + 1

    def after(self, change: Change, *, kept: int = 1) -> Standing:
        """With a change that holds. A version that is to answer is pending at first, unless it answers already or is the file's own."""
        assert self.holds(change)
        found = replace(self, number=change.number)
        if change.what in (PIN, UNPIN):
            found = replace(found, pinned=change.what == PIN)
        if change.what in (SHARE, RESTART):
            return replace(found, shares=change.shares)
        if change.what not in (PROMOTE, ROLLBACK, PIN):
            return found
        if change.version == self.current:
            return replace(found, pending=None)
        if change.manifest is not None:
            found = replace(found, known={**self.known, change.version: change})
        found = replace(found, pending=change.version)
        return found.installed(0, kept=kept) if change.version == 0 else found.tidy()

    def installed(self, version: int, *, kept: int = 1) -> Standing:
        """The pending version answers from now on."""
        assert version == self.pending
        before = (*(v for v in self.before if v not in (version, self.current)), self.current)[-kept:]
        return replace(self, current=version, pending=None, before=before).tidy()

    def failed(self, version: int) -> Standing:
        """A version could not be installed: the pending one is dropped; for the current one (after a restart) stands in the one before."""
        if version == self.pending:
            return replace(self, pending=None).tidy()
        assert version == self.current
        return replace(self, current=self.before[-1] if self.before else 0, before=self.before[:-1]).tidy()

    def used(self) -> frozenset[int]:
        """The versions that are to stay in memory."""
        return frozenset({self.current, *self.before, *(() if self.pending is None else (self.pending,))})

    def tidy(self) -> Standing:
        """Without what belongs to versions that are gone."""
        used = self.used()
        return replace(self, known={version: change for version, change in self.known.items() if version in used})

    def to_bytes(self) -> bytes:
        """One JSON object."""
        given = {"number": self.number, "current": self.current, "pending": self.pending, "before": self.before, "pinned": self.pinned}
        known = {str(version): orjson.loads(change.to_bytes()) for version, change in self.known.items()}
        return orjson.dumps(given | {"known": known, "shares": self.shares})

    @staticmethod
    def from_bytes(data: bytes) -> Standing:
        """The inverse of to_bytes."""
        given = orjson.loads(data)
        known: dict[int, Change] = {}
        for version, change in given.pop("known").items():
            found = read_record(orjson.dumps(change))
            assert isinstance(found, Change)
            known[int(version)] = found
        shares = tuple((arm, share) for arm, share in given.pop("shares"))
        return Standing(**given | {"before": tuple(given["before"])}, known=known, shares=shares)


@dataclass
class Book:
    """All that is on the log, by name. changes: those that hold, in order; told: what tasks wrote; refused: changes that came too late."""

    changes: dict[str, list[Change]]
    told: dict[str, list[Told]]
    refused: list[Change]

    @staticmethod
    def of(values: Iterable[bytes]) -> Book:
        """From the records in their order."""
        book = Book({}, {}, [])
        for value in values:
            book.add(value)
        return book

    def add(self, value: bytes) -> Change | Told | None:
        """One more record; what it says if it holds."""
        record = read_record(value)
        if isinstance(record, Told):
            self.told.setdefault(record.name, []).append(record)
        elif record is not None:
            if record.number != self.number(record.name) + 1:
                self.refused.append(record)
                return None
            self.changes.setdefault(record.name, []).append(record)
        return record

    def number(self, name: str) -> int:
        """Of the last change of this name that holds."""
        return len(self.changes.get(name, ()))

    def versions(self, name: str) -> dict[int, Change]:
        """The published versions of a model, by number."""
        return {change.version: change for change in self.changes.get(name, ()) if change.what == PUBLISH}

    def wanted(self, name: str) -> tuple[int, bool]:
        """(the version that is to answer, whether it is pinned)."""
        version, pinned = 0, False
        for change in self.changes.get(name, ()):
            if change.what in (PROMOTE, ROLLBACK, PIN):
                version = change.version
            pinned = change.what == PIN or (pinned and change.what != UNPIN)
        return version, pinned

    def before(self, name: str) -> int | None:
        """The version that was to answer before the present one; None where there is none."""
        answered = [0]
        for change in self.changes.get(name, ()):
            if change.what in (PROMOTE, PIN) and change.version != answered[-1]:
                answered.append(change.version)
            elif change.what == ROLLBACK and len(answered) > 1 and answered[-2] == change.version:
                answered.pop()
            elif change.what == ROLLBACK:
                answered.append(change.version)
        return answered[-2] if len(answered) > 1 else None
