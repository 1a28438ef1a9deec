package bench;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/** Consume, score = bias + w·x, produce. scorer=plain: in Java; scorer=onnx: one run of ONNX Runtime per event. */
final class Transform {
    private Transform() {}

    static Topology topology(Run run) {
        return new Topology().addSource("in", run.in()).addProcessor("score", () -> new Score(run), "in").addSink("out", run.out(), "score");
    }

    interface Scorer {
        double score(double[] x) throws Exception;
    }

    static Scorer plain(double[] weights, double bias) {
        return x -> {
            double sum = bias;
            for (int i = 0; i < weights.length; i++) sum += weights[i] * x[i];
            return sum;
        };
    }

    static Scorer onnx(String file) throws Exception {
        Onnx model = new Onnx(file);
        return x -> {
            ByteBuffer input = model.input(1);
            for (double number : x) input.putDouble(number);
            return model.run().getDouble(0);
        };
    }

    private static final class Score extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        private final EventCodec codec;
        private final Scorer scorer;
        private final Event event = new Event();

        Score(Run run) {
            try {
                codec = EventCodec.of(run);
                scorer = run.option("scorer", "plain").equals("onnx") ? onnx(run.option("model", "")) : plain(run.weights(), run.bias());
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                codec.read(record.value(), event);
                context().forward(record.withValue(codec.write(event, scorer.score(event.x))));
            } catch (IOException error) {
                throw new IllegalArgumentException(error);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
