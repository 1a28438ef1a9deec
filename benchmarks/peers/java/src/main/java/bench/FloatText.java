package bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Decimal texts to floats and back. */
final class FloatText {
    private static final double[] TENS = new double[23];
    private static final int DIGITS_EXACT = 18;

    static {
        double ten = 1;
        for (int i = 0; i < TENS.length; i++, ten *= 10) TENS[i] = ten;
    }

    private FloatText() {}

    /**
     * Comma-joined numbers of text[at, end) into the buffer. Up to 18 digits and 22 tens are one division in double, then rounded to
     * float; anything else goes to Float.parseFloat.
     */
    static void parse(byte[] text, int at, int end, ByteBuffer into) {
        while (at < end) {
            int begin = at;
            boolean negative = text[at] == '-';
            if (negative) at++;
            long digits = 0;
            int count = 0;
            int tens = 0;
            boolean plain = true;
            boolean fraction = false;
            for (; at < end && text[at] != ','; at++) {
                int digit = text[at] - '0';
                if (digit >= 0 && digit <= 9) {
                    digits = digits * 10 + digit;
                    if (digits != 0) count++;
                    if (fraction) tens--;
                } else if (text[at] == '.') {
                    fraction = true;
                } else if (text[at] == 'E' || text[at] == 'e') {
                    int sign = 1;
                    int exponent = 0;
                    if (text[at + 1] == '-' || text[at + 1] == '+') sign = text[++at] == '-' ? -1 : 1;
                    while (at + 1 < end && text[at + 1] != ',') exponent = exponent * 10 + text[++at] - '0';
                    tens += sign * exponent;
                } else {
                    plain = false;
                }
            }
            if (plain && count <= DIGITS_EXACT && tens > -TENS.length && tens < TENS.length) {
                double value = tens < 0 ? digits / TENS[-tens] : digits * TENS[tens];
                into.putFloat((float) (negative ? -value : value));
            } else {
                into.putFloat(Float.parseFloat(new String(text, begin, at - begin, StandardCharsets.US_ASCII)));
            }
            at++;
        }
    }

    /** The same of characters. */
    static void parse(char[] text, int at, int end, byte[] scratch, ByteBuffer into) {
        for (int i = at; i < end; i++) scratch[i - at] = (byte) text[i];
        parse(scratch, 0, end - at, into);
    }

    /** [[…], […]]: rows of so many numbers, as the paper writes them. */
    static StringBuilder rows(ByteBuffer answer, int width) {
        int count = answer.capacity() / Float.BYTES;
        StringBuilder text = new StringBuilder(count * 13 + 4).append('[');
        for (int i = 0; i < count; i++) {
            text.append(i % width == 0 ? i == 0 ? "[" : "], [" : ", ").append(answer.getFloat(i * Float.BYTES));
        }
        return text.append("]]");
    }
}
