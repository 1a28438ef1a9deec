package bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.deser.std.StdDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.StdSerializer;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * The way of the paper's adapter for Kafka Streams and ONNX, written anew: an ObjectMapper with its own module for every record read and
 * for every record written, a tree, the text split at its commas, boxed floats in lists of lists, a new tensor per event, the results
 * as lists of lists and their toString(). Their adapter also declares a state store that nothing uses; it costs nothing and is left out.
 */
final class CrayfishPaper {
    private CrayfishPaper() {}

    record Batch(List<List<Float>> points, long created, String prediction) {}

    static Topology topology(Run run) {
        Deserializer<Batch> read = (topic, data) -> read(data);
        Serializer<Batch> write = (topic, data) -> write(data);
        return new Topology()
            .addSource("in", Serdes.String().deserializer(), read, run.in())
            .addProcessor("score", () -> new Score(run), "in")
            .addSink("out", run.out(), Serdes.String().serializer(), write, "score");
    }

    private static Batch read(byte[] data) {
        SimpleModule module = new SimpleModule();
        module.addDeserializer(Batch.class, new StdDeserializer<Batch>(Batch.class) {
            @Override
            public Batch deserialize(JsonParser parser, DeserializationContext context) throws IOException {
                JsonNode node = parser.getCodec().readTree(parser);
                int rows = node.get("dataPointSz1").intValue();
                int width = node.get("dataPointSz2").intValue();
                String[] texts = node.get("dataPoint").textValue().split(",");
                List<List<Float>> points = new ArrayList<>();
                int at = 0;
                for (int i = 0; i < rows; i++) {
                    List<Float> row = new ArrayList<>();
                    for (int j = 0; j < width; j++) row.add(Float.valueOf(texts[at++]));
                    points.add(row);
                }
                return new Batch(points, node.get("creationTimestamp").longValue(), null);
            }
        });
        ObjectMapper mapper = new ObjectMapper();
        mapper.registerModule(module);
        try {
            return mapper.readValue(data, Batch.class);
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private static byte[] write(Batch batch) {
        SimpleModule module = new SimpleModule();
        module.addSerializer(Batch.class, new StdSerializer<Batch>(Batch.class) {
            @Override
            public void serialize(Batch value, JsonGenerator out, SerializerProvider provider) throws IOException {
                out.writeStartObject();
                out.writeNumberField("creationTimestamp", value.created());
                out.writeNumberField("dataPointSz1", value.points().size());
                out.writeNumberField("dataPointSz2", value.points().get(0).size());
                StringBuilder text = new StringBuilder();
                for (List<Float> row : value.points()) for (Float number : row) text.append(number).append(",");
                out.writeStringField("dataPoint", text.toString());
                out.writeStringField("prediction", value.prediction());
                out.writeEndObject();
            }
        });
        ObjectMapper mapper = new ObjectMapper();
        mapper.registerModule(module);
        try {
            return mapper.writeValueAsBytes(batch);
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private static final class Score extends ContextualProcessor<String, Batch, String, Batch> {
        private final Onnx model;

        Score(Run run) {
            try {
                model = new Onnx(run.option("model", ""));
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public void process(Record<String, Batch> record) {
            try {
                Batch batch = record.value();
                List<Float> all = new ArrayList<>(batch.points().stream().flatMap(List::stream).toList());
                float[] numbers = new float[all.size()];
                for (int i = 0; i < numbers.length; i++) numbers[i] = all.get(i);
                long[] shape = model.inputShape(batch.points().size());
                List<List<Float>> answer = new ArrayList<>();
                // Theirs never closes tensors and results: that would end a long run for want of memory.
                try (OnnxTensor tensor = OnnxTensor.createTensor(model.environment, FloatBuffer.wrap(numbers), shape);
                    OrtSession.Result result = model.session.run(Map.of(model.inputName, tensor))) {
                    for (float[] row : (float[][]) result.get(0).getValue()) {
                        List<Float> line = new ArrayList<>();
                        for (float number : row) line.add(number);
                        answer.add(line);
                    }
                }
                context().forward(record.withValue(new Batch(batch.points(), batch.created(), answer.toString())));
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
