"""topology.spec: the format of a topology file, as one table per section. shape → *spec* → read, jsonschema, reference.

To add a setting, add a line to one of the tables: reading, bounds, the JSON Schema, the reference page and "did you mean" follow
from it.
"""

from __future__ import annotations

from stream_infer.topology.shape import Place
from stream_infer.topology.spec_calls import CALLS
from stream_infer.topology.spec_composed import COMPOSED_MODELS
from stream_infer.topology.spec_decisions import DECISIONS, LEARNING
from stream_infer.topology.spec_explain import EXPLAIN
from stream_infer.topology.spec_formats import FORMATS
from stream_infer.topology.spec_models import MODELS
from stream_infer.topology.spec_online import ONLINE
from stream_infer.topology.spec_rows import ROWS
from stream_infer.topology.spec_top import REST, TOP

_TABLES = (TOP, MODELS, FORMATS, COMPOSED_MODELS, ROWS, CALLS, DECISIONS, ONLINE, LEARNING, EXPLAIN, REST)
PLACES: dict[str, Place] = {place.name: place for table in _TABLES for place in table}
