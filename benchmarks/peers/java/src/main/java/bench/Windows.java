package bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Count, sum, mean, min and max of tumbling windows by key, told with every event.
 *
 * One RocksDB store with a changelog, one value per key that holds every window's running numbers: one get and one put per event.
 * The DSL's windowed aggregates would be one store each, and a join of their outputs.
 */
final class Windows {
    private static final String STORE = "windows";
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle DOUBLE = AvroEvents.DOUBLE;
    // Per window: its begin, count, sum, min, max.
    private static final int WINDOW_BYTES = 5 * Long.BYTES;

    private Windows() {}

    static Topology topology(Run run) {
        var store = Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.Bytes(), Serdes.ByteArray())
            .withLoggingEnabled(Map.of());
        return new Topology()
            .addSource("in", run.in())
            .addProcessor("windows", () -> new Tell(run), "in")
            .addStateStore(run.option("caching", "on").equals("on") ? store.withCachingEnabled() : store.withCachingDisabled(), "windows")
            .addSink("out", run.out(), "windows");
    }

    private static final class Tell extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        private final EventCodec codec;
        private final double[] weights;
        private final double bias;
        private final long[] widthMs;
        private final int valueAt;
        private final Event event = new Event();
        private KeyValueStore<Bytes, byte[]> store;

        Tell(Run run) {
            try {
                codec = EventCodec.of(run);
                weights = run.weights();
                bias = run.bias();
                JsonNode widths = run.spec().get("window_ms");
                widthMs = new long[widths.size()];
                for (int i = 0; i < widthMs.length; i++) widthMs[i] = widths.get(i).asLong();
                valueAt = run.spec().get("value").asText().charAt(1) - '0';
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            super.init(context);
            store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            try {
                codec.read(record.value(), event);
                Bytes key = Bytes.wrap(record.key());
                byte[] before = store.get(key);
                // A new array: the old one may still be the cache's.
                byte[] after = before == null ? fresh() : before.clone();
                double score = update(after, event.atMs, event.x[valueAt]);
                store.put(key, after);
                context().forward(record.withValue(codec.write(event, score)));
            } catch (IOException error) {
                throw new IllegalArgumentException(error);
            }
        }

        private byte[] fresh() {
            byte[] state = new byte[widthMs.length * WINDOW_BYTES];
            for (int i = 0; i < widthMs.length; i++) LONG.set(state, i * WINDOW_BYTES, Long.MIN_VALUE);
            return state;
        }

        private double update(byte[] state, long atMs, double value) {
            double score = bias;
            int weight = 0;
            for (int i = 0; i < widthMs.length; i++) {
                int at = i * WINDOW_BYTES;
                long begin = Math.floorDiv(atMs, widthMs[i]) * widthMs[i];
                long count = 1;
                double sum = value;
                double min = value;
                double max = value;
                if ((long) LONG.get(state, at) == begin) {
                    count += (long) LONG.get(state, at + 8);
                    sum += (double) DOUBLE.get(state, at + 16);
                    min = Math.min(min, (double) DOUBLE.get(state, at + 24));
                    max = Math.max(max, (double) DOUBLE.get(state, at + 32));
                }
                LONG.set(state, at, begin);
                LONG.set(state, at + 8, count);
                DOUBLE.set(state, at + 16, sum);
                DOUBLE.set(state, at + 24, min);
                DOUBLE.set(state, at + 32, max);
                score += weights[weight++] * count;
                score += weights[weight++] * sum;
                score += weights[weight++] * (sum / count);
                score += weights[weight++] * min;
                score += weights[weight++] * max;
            }
            return score;
        }
    }
}
