package bench;

import ai.onnxruntime.OrtException;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Crayfish (EDBT 2024): one event is one or more points of 784 numbers, one call of the model per event.
 *
 * mode=paper works as the paper's adapter does (see CrayfishPaper); jackson shares one factory and streams; bytes reads the numbers
 * from the record's bytes and splices the answer into them.
 */
final class Crayfish {
    private Crayfish() {}

    static Topology topology(Run run) {
        String mode = run.option("mode", "bytes");
        if (mode.equals("paper")) return CrayfishPaper.topology(run);
        return new Topology().addSource("in", run.in()).addProcessor("score", () -> new Score(run, mode), "in").addSink("out", run.out(), "score");
    }

    /** A record to numbers in the model's buffer; the record and the model's answer to a record. */
    interface Wire {
        byte[] answer(byte[] record, Onnx model) throws Exception;
    }

    static Wire wire(String wire, String mode) {
        if (wire.equals("avro")) return new CrayfishAvro();
        return mode.equals("jackson") ? new CrayfishJackson() : new CrayfishBytes();
    }

    private static final class Score extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        private final Onnx model;
        private final Wire wire;

        Score(Run run, String mode) {
            wire = wire(run.option("wire", "json"), mode);
            try {
                model = new Onnx(run.option("model", ""));
            } catch (OrtException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                context().forward(record.withValue(wire.answer(record.value(), model)));
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
