"""benchmarks: figures of ours beside those of others, each with its oracle; `make bench-NAME`."""
