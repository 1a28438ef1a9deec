package bench;

import java.io.IOException;

/** Records of the harness: input to Event, event and score to output. */
interface EventCodec {
    void read(byte[] record, Event into) throws IOException;

    byte[] write(Event of, double score) throws IOException;

    static EventCodec of(Run run) throws IOException {
        return run.isJson() ? new JsonEvents() : new AvroEvents(run.spec().get("schema_in_id").asInt(), run.spec().get("schema_out_id").asInt());
    }
}
