"""stream-infer: streaming inference on Kafka."""
