"""The command line as a module: `python -m stream_infer` is `stream-infer`."""

from __future__ import annotations

import sys

from stream_infer.cli import main

if __name__ == "__main__":
    sys.exit(main())
