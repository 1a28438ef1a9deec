package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** Flat JSON objects by Jackson's streaming parser: one factory, no tree, no objects. */
final class JsonEvents implements EventCodec {
    private static final JsonFactory FACTORY = new JsonFactoryBuilder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();

    @Override
    public void read(byte[] record, Event into) throws IOException {
        try (JsonParser parser = FACTORY.createParser(record)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                if (name.length() == 2 && name.charAt(0) == 'x') into.x[name.charAt(1) - '0'] = parser.getDoubleValue();
                else if (name.equals("id")) {
                    into.record = parser.getText().getBytes(StandardCharsets.UTF_8);
                    into.idStart = 0;
                    into.idSize = into.record.length;
                } else if (name.equals("at_ms")) into.atMs = parser.getLongValue();
            }
        }
    }

    @Override
    public byte[] write(Event of, double score) {
        StringBuilder text = new StringBuilder(96);
        text.append("{\"id\":\"").append(new String(of.record, of.idStart, of.idSize, StandardCharsets.UTF_8));
        text.append("\",\"at_ms\":").append(of.atMs).append(",\"score\":").append(score).append('}');
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }
}
