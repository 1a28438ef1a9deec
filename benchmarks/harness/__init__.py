"""harness: brokers, topics, cases, figures and tables that all benchmarks share. README.md says what a case is."""
