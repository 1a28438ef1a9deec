"""models.version: one version of a model or policy, as it travels on the models topic. learn → *version* → every task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from stream_infer.models.base import model_error

FORMAT = 1


@dataclass(frozen=True)
class ModelVersion:
    """name: of the model or policy. version: 1, 2, … effective_ms: event time from which rows are answered by it.

    covers: how many joined rows are in this version: the first so many of the joined topic, in their merged order.
    payload: safetensors of a model or the packed statistics of a policy. digest: sha256 (hex) of the payload.
    """

    name: str
    version: int
    effective_ms: int
    covers: int
    digest: str
    payload: bytes

    @staticmethod
    def of(name: str, version: int, effective_ms: int, covers: int, payload: bytes) -> ModelVersion:
        """A version whose digest is that of its payload."""
        return ModelVersion(name, version, effective_ms, covers, hashlib.sha256(payload).hexdigest(), payload)

    def to_bytes(self) -> bytes:
        """One byte of format, u32 little-endian size of the JSON header, the header, the payload."""
        header = orjson.dumps(
            {"covers": self.covers, "digest": self.digest, "effective_ms": self.effective_ms, "name": self.name, "version": self.version}
        )
        return bytes([FORMAT]) + len(header).to_bytes(4, "little") + header + self.payload

    @staticmethod
    def from_bytes(data: bytes) -> ModelVersion:
        """The inverse of to_bytes; raises ModelError for other formats, cut records and payloads that are not the digest's."""
        if len(data) < 5 or data[0] != FORMAT:
            raise model_error(
                "the record is no model version",
                "models topic",
                got=f"format {data[0]}" if data else "0 bytes",
                expected=f"format {FORMAT}",
            )
        end = 5 + int.from_bytes(data[1:5], "little")
        try:
            header = orjson.loads(data[5:end]) if end <= len(data) else None
        except orjson.JSONDecodeError:
            header = None
        fields = {"name": str, "version": int, "effective_ms": int, "covers": int, "digest": str}
        if (
            not isinstance(header, dict)
            or header.keys() != fields.keys()
            or any(type(header[name]) is not kind for name, kind in fields.items())
        ):
            raise model_error(
                "the header of the model version is broken", "models topic", got=repr(data[5 : min(end, 205)]), expected=", ".join(fields)
            )
        payload = data[end:]
        digest = hashlib.sha256(payload).hexdigest()
        if digest != header["digest"]:
            raise model_error(
                f"the payload of {header['name']} v{header['version']} is not what was published",
                "models topic",
                got=f"sha256 {digest}",
                expected=f"sha256 {header['digest']}",
                fix="publish the version again",
            )
        return ModelVersion(**header, payload=payload)
