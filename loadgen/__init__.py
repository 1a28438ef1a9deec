"""loadgen: open-loop producers of real and synthetic events whose true answers are known."""
