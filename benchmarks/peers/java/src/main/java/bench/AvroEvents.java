package bench;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** Avro in the five-byte frame, read and written by hand for these two schemas: several times as fast as a GenericDatumReader. */
final class AvroEvents implements EventCodec {
    static final VarHandle DOUBLE = MethodHandles.byteArrayViewVarHandle(double[].class, ByteOrder.LITTLE_ENDIAN);
    static final VarHandle FRAME = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.BIG_ENDIAN);
    private static final int FRAME_BYTES = 5;
    private static final int LONG_BYTES_MAX = 10;

    private final int idIn;
    private final int idOut;
    private int at;

    AvroEvents(int idIn, int idOut) {
        this.idIn = idIn;
        this.idOut = idOut;
    }

    @Override
    public void read(byte[] record, Event into) {
        if (record[0] != 0 || (int) FRAME.get(record, 1) != idIn) throw new IllegalArgumentException("a record of another schema");
        at = FRAME_BYTES;
        into.record = record;
        into.idSize = (int) readLong(record);
        into.idStart = at;
        at += into.idSize;
        skipText(record);
        skipText(record);
        for (int i = 0; i < Event.INPUTS; i++) {
            into.x[i] = (double) DOUBLE.get(record, at);
            at += Double.BYTES;
        }
        into.atMs = readLong(record);
    }

    @Override
    public byte[] write(Event of, double score) {
        int size = FRAME_BYTES + longBytes(of.idSize) + of.idSize + longBytes(of.atMs) + Double.BYTES;
        byte[] out = new byte[size];
        FRAME.set(out, 1, idOut);
        int to = writeLong(out, FRAME_BYTES, of.idSize);
        System.arraycopy(of.record, of.idStart, out, to, of.idSize);
        to = writeLong(out, to + of.idSize, of.atMs);
        DOUBLE.set(out, to, score);
        return out;
    }

    private void skipText(byte[] record) {
        int size = (int) readLong(record);
        at += size;
    }

    private long readLong(byte[] record) {
        long raw = 0;
        for (int shift = 0; shift < 7 * LONG_BYTES_MAX; shift += 7) {
            byte next = record[at++];
            raw |= (long) (next & 0x7f) << shift;
            if (next >= 0) return (raw >>> 1) ^ -(raw & 1);
        }
        throw new IllegalArgumentException("a number of more than ten bytes");
    }

    static int longBytes(long value) {
        long raw = (value << 1) ^ (value >> 63);
        return (Long.SIZE - Long.numberOfLeadingZeros(raw | 1) + 6) / 7;
    }

    static int writeLong(byte[] out, int at, long value) {
        long raw = (value << 1) ^ (value >> 63);
        while ((raw & ~0x7fL) != 0) {
            out[at++] = (byte) (raw & 0x7f | 0x80);
            raw >>>= 7;
        }
        out[at++] = (byte) raw;
        return at;
    }
}
