package bench;

/** One input record as its codec reads it, used again for the next one. The id stays where it stands in the record. */
final class Event {
    static final int INPUTS = 8;

    byte[] record;
    int idStart;
    int idSize;
    final double[] x = new double[INPUTS];
    long atMs;
}
