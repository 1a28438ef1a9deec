"""attribution: which inputs made an answer what it is. models → *attribution* → flow, edge."""

from stream_infer.attribution.attribute import answer, attribution_of
from stream_infer.attribution.result import Attributions
from stream_infer.attribution.settings import Asked, AttributionSettings

__all__ = ["Asked", "AttributionSettings", "Attributions", "answer", "attribution_of"]
