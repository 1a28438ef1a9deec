package bench;

import java.nio.ByteBuffer;

/**
 * The binary wire: Avro without a frame. In: creationTimestamp (long), dataPoint (bytes: float32, little-endian). Out: outputs (array of
 * double), creationTimestamp.
 */
final class CrayfishAvro implements Crayfish.Wire {
    private int at;

    @Override
    public byte[] answer(byte[] record, Onnx model) throws Exception {
        at = 0;
        long created = readLong(record);
        int size = Math.toIntExact(readLong(record));
        // Little-endian, as the buffer is.
        model.input(size / Float.BYTES / model.inputWidth).put(record, at, size);
        ByteBuffer answer = model.run();
        int outputs = answer.capacity() / Float.BYTES;
        byte[] out = new byte[AvroEvents.longBytes(created) + AvroEvents.longBytes(outputs) + outputs * Double.BYTES + 1];
        int to = AvroEvents.writeLong(out, 0, outputs);
        for (int i = 0; i < outputs; i++, to += Double.BYTES) AvroEvents.DOUBLE.set(out, to, (double) answer.getFloat(i * Float.BYTES));
        AvroEvents.writeLong(out, to + 1, created); // behind the 0 that ends the array
        return out;
    }

    private long readLong(byte[] record) {
        long raw = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = record[at++];
            raw |= (long) (next & 0x7f) << shift;
            if (next >= 0) return (raw >>> 1) ^ -(raw & 1);
        }
    }
}
