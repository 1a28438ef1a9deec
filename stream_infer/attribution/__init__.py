"""attribution: which inputs made an answer what it is. models → *attribution* → flow, edge."""

from stream_infer.attribution.attribute import attribution_of
from stream_infer.attribution.result import Attributions
from stream_infer.attribution.settings import AttributionSettings

__all__ = ["AttributionSettings", "Attributions", "attribution_of"]
