package bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** JSON by hand: the numbers are read where they stand in the record, the answer is spliced into a copy of it. */
final class CrayfishBytes implements Crayfish.Wire {
    private static final byte[] ROWS = "\"dataPointSz1\":".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] NUMBERS = "\"dataPoint\":\"".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] UNANSWERED = "\"prediction\":null}".getBytes(StandardCharsets.US_ASCII);
    private static final int NULL_BYTES = 5;

    private final CrayfishJackson otherwise = new CrayfishJackson();

    @Override
    public byte[] answer(byte[] record, Onnx model) throws Exception {
        int head = record.length - UNANSWERED.length;
        int at = find(record, ROWS, 0);
        int numbers = at < 0 ? -1 : find(record, NUMBERS, at);
        // Another order of the fields, or spaces: valid, and for Jackson.
        if (numbers < 0 || head < 0 || !Arrays.equals(record, head, record.length, UNANSWERED, 0, UNANSWERED.length)) return otherwise.answer(record, model);
        int rows = 0;
        for (; record[at] != ','; at++) rows = rows * 10 + record[at] - '0';
        int end = record[head - 1] == ',' ? head - 2 : head - 1;
        FloatText.parse(record, numbers, end, model.input(rows));
        ByteBuffer answer = model.run();
        byte[] text = FloatText.rows(answer, model.outputWidth).toString().getBytes(StandardCharsets.ISO_8859_1);
        int keep = record.length - NULL_BYTES;
        byte[] out = Arrays.copyOf(record, keep + text.length + 3);
        out[keep] = '"';
        System.arraycopy(text, 0, out, keep + 1, text.length);
        out[out.length - 2] = '"';
        out[out.length - 1] = '}';
        return out;
    }

    /** Behind the first of these names, -1 where there is none: looked for before the numbers only. */
    private static int find(byte[] record, byte[] name, int from) {
        int until = Math.min(record.length - name.length, from + 100);
        for (int at = from; at <= until; at++) if (Arrays.equals(record, at, at + name.length, name, 0, name.length)) return at + name.length;
        return -1;
    }
}
