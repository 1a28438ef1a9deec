package bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsConfig;

/**
 * What one run is given: the BENCH_ variables of the harness and the options of the command line.
 *
 * Options: scorer=plain|onnx, model=FILE (ONNX), wire=json|avro, mode=paper|jackson|bytes; any other name with a dot in it is a
 * property of Kafka Streams and goes there as it stands.
 */
final class Run {
    final String application;
    private final Map<String, String> options = new HashMap<>();
    private final Properties given = new Properties();
    private JsonNode spec;

    Run(String[] arguments) {
        application = arguments.length > 0 ? arguments[0] : "";
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            if (pair[0].contains(".")) given.put(pair[0], pair[1]);
            else options.put(pair[0], pair[1]);
        }
    }

    String option(String name, String otherwise) {
        return options.getOrDefault(name, otherwise);
    }

    static String environment(String name) {
        String value = System.getenv(name);
        if (value == null) throw new IllegalStateException(name + " is not set");
        return value;
    }

    String in() {
        return environment("BENCH_IN");
    }

    String out() {
        return environment("BENCH_OUT");
    }

    boolean isJson() {
        return environment("BENCH_FORMAT").equals("json");
    }

    JsonNode spec() throws IOException {
        if (spec == null) spec = new ObjectMapper().readTree(new File(environment("BENCH_SPEC")));
        return spec;
    }

    double[] weights() throws IOException {
        JsonNode list = spec().get("weights");
        double[] weights = new double[list.size()];
        for (int i = 0; i < weights.length; i++) weights[i] = list.get(i).asDouble();
        return weights;
    }

    double bias() throws IOException {
        return spec().get("bias").asDouble();
    }

    Properties properties() {
        Properties set = new Properties();
        set.put(StreamsConfig.APPLICATION_ID_CONFIG, environment("BENCH_GROUP"));
        set.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment("BENCH_BOOTSTRAP"));
        boolean once = environment("BENCH_GUARANTEE").equals("exactly_once");
        set.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, once ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        set.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, environment("BENCH_COMMIT_MS"));
        set.put(StreamsConfig.STATE_DIR_CONFIG, environment("BENCH_FOLDER"));
        set.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "1");
        set.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        set.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        set.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        set.putAll(given);
        return set;
    }
}
