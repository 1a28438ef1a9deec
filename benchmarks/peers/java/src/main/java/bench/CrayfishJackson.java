package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.util.ByteArrayBuilder;

/** JSON by Jackson as one should: one factory, streaming both ways, no tree and no boxed number. The input is written out again. */
final class CrayfishJackson implements Crayfish.Wire {
    private static final JsonFactory FACTORY = new JsonFactory();

    private byte[] scratch = new byte[0];

    @Override
    public byte[] answer(byte[] record, Onnx model) throws Exception {
        ByteArrayBuilder out = new ByteArrayBuilder(record.length + 512);
        try (JsonParser parser = FACTORY.createParser(record); JsonGenerator generator = FACTORY.createGenerator(out)) {
            int rows = 1;
            parser.nextToken();
            generator.writeStartObject();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                if (name.equals("prediction")) {
                    parser.nextToken();
                    continue;
                }
                generator.writeFieldName(name);
                if (parser.nextToken() == JsonToken.VALUE_NUMBER_INT) {
                    if (name.equals("dataPointSz1")) rows = parser.getIntValue();
                    generator.writeNumber(parser.getLongValue());
                } else {
                    // The parser's own buffer: the next token overwrites it.
                    char[] text = parser.getTextCharacters();
                    int from = parser.getTextOffset();
                    int size = parser.getTextLength();
                    if (scratch.length < size) scratch = new byte[size];
                    FloatText.parse(text, from, from + size, scratch, model.input(rows));
                    generator.writeString(text, from, size);
                }
            }
            generator.writeStringField("prediction", FloatText.rows(model.run(), model.outputWidth).toString());
            generator.writeEndObject();
        }
        return out.toByteArray();
    }
}
