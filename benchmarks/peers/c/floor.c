/* floor: what these records cost in C with librdkafka alone: consume_batch, one pass over each record, produce_batch.
 *
 *   floor BOOTSTRAP IN OUT GROUP exactly_once|at_least_once COMMIT_MS LINGER_MS ID_IN ID_OUT transform|windows BIAS WEIGHT…
 *
 * It decodes Avro as a reader must (varints, strings of any length), scores, encodes, keeps each record's partition, and commits on the interval.
 * windows: three tumbling windows by key in plain arrays, without changelog. Nothing is validated beyond the frame, nothing can be configured.
 * librdkafka is the one of the confluent-kafka wheel; wheels bring no headers, so what is used of its stable interface is declared here.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_error_s rd_kafka_error_t;
typedef struct rd_kafka_cgmd_s rd_kafka_cgmd_t;
typedef struct { int err; rd_kafka_topic_t *rkt; int32_t partition; void *payload; size_t len; void *key; size_t key_len; int64_t offset; void *priv; } message_t;
typedef struct { int cnt; int size; void *elems; } list_t;
rd_kafka_conf_t *rd_kafka_conf_new(void);
int rd_kafka_conf_set(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
rd_kafka_t *rd_kafka_new(int, rd_kafka_conf_t *, char *, size_t);
int rd_kafka_poll_set_consumer(rd_kafka_t *);
list_t *rd_kafka_topic_partition_list_new(int);
void *rd_kafka_topic_partition_list_add(list_t *, const char *, int32_t);
void rd_kafka_topic_partition_list_destroy(list_t *);
int rd_kafka_subscribe(rd_kafka_t *, const list_t *);
int rd_kafka_assignment(rd_kafka_t *, list_t **);
int rd_kafka_position(rd_kafka_t *, list_t *);
int rd_kafka_commit(rd_kafka_t *, const list_t *, int);
rd_kafka_queue_t *rd_kafka_queue_get_consumer(rd_kafka_t *);
ssize_t rd_kafka_consume_batch_queue(rd_kafka_queue_t *, int, message_t **, size_t);
void rd_kafka_message_destroy(message_t *);
rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *, const char *, void *);
int rd_kafka_produce_batch(rd_kafka_topic_t *, int32_t, int, message_t *, int);
int rd_kafka_poll(rd_kafka_t *, int);
int rd_kafka_flush(rd_kafka_t *, int);
int rd_kafka_consumer_close(rd_kafka_t *);
rd_kafka_cgmd_t *rd_kafka_consumer_group_metadata(rd_kafka_t *);
void rd_kafka_consumer_group_metadata_destroy(rd_kafka_cgmd_t *);
rd_kafka_error_t *rd_kafka_init_transactions(rd_kafka_t *, int);
rd_kafka_error_t *rd_kafka_begin_transaction(rd_kafka_t *);
rd_kafka_error_t *rd_kafka_send_offsets_to_transaction(rd_kafka_t *, const list_t *, const rd_kafka_cgmd_t *, int);
rd_kafka_error_t *rd_kafka_commit_transaction(rd_kafka_t *, int);
const char *rd_kafka_error_string(const rd_kafka_error_t *);

enum { BATCH = 1000, WIDE = 64, COPY = 2, BLOCK = 4, PARTITION = 8, FIELDS = 8, WINDOWS = 3, KEYS = 1 << 24 };
static const int64_t WIDTH_MS[WINDOWS] = {60000, 600000, 3600000};
typedef struct { int64_t number; double count, sum, min, max; } window_t;
static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number; stopped = 1; }
static void die(const char *what, const char *why) { fprintf(stderr, "%s: %s\n", what, why); exit(1); }
static void ok(rd_kafka_error_t *error, const char *what) { if (error) die(what, rd_kafka_error_string(error)); }

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) die(name, why);
}

static int64_t number(const uint8_t **at, const uint8_t *end) {
    uint64_t found = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        found |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return (int64_t)(found >> 1) ^ -(int64_t)(found & 1);
    }
    die("record", "a number without end");
    return 0;
}

static uint8_t *put_number(uint8_t *to, int64_t value) {
    uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; left > 127; left >>= 7) *to++ = (uint8_t)(left | 128);
    *to++ = (uint8_t)left;
    return to;
}

static double windowed(window_t *of, int64_t at_ms, double value, const double *w) {
    double score = 0;
    for (int i = 0; i < WINDOWS; i++, of++, w += 5) {
        int64_t tile = at_ms / WIDTH_MS[i] + 1; /* never 0, which is what fresh memory holds */
        if (of->number != tile) *of = (window_t){tile, 0, 0, value, value};
        of->count += 1;
        of->sum += value;
        if (value < of->min) of->min = value;
        if (value > of->max) of->max = value;
        score += w[0] * of->count + w[1] * of->sum + w[2] * of->sum / of->count + w[3] * of->min + w[4] * of->max;
    }
    return score;
}

int main(int argc, char **argv) {
    if (argc < 12 + FIELDS) die("arguments", "too few");
    const char *bootstrap = argv[1], *in = argv[2], *out = argv[3], *group = argv[4];
    int exactly = !strcmp(argv[5], "exactly_once"), by_key = !strcmp(argv[10], "windows");
    double interval_s = atof(argv[6]) / 1000, bias = atof(argv[11]), w[16] = {0};
    uint32_t id_in = (uint32_t)atol(argv[8]), id_out = (uint32_t)atol(argv[9]);
    for (int i = 12; i < argc && i < 28; i++) w[i - 12] = atof(argv[i]);
    window_t *windows = by_key ? calloc((size_t)KEYS * WINDOWS, sizeof *windows) : NULL; /* pages come when they are touched */
    signal(SIGTERM, stop);

    char why[256];
    rd_kafka_conf_t *reads = rd_kafka_conf_new(), *writes = rd_kafka_conf_new();
    set(reads, "bootstrap.servers", bootstrap), set(writes, "bootstrap.servers", bootstrap);
    set(reads, "group.id", group), set(reads, "auto.offset.reset", "earliest"), set(reads, "enable.auto.commit", "false");
    set(reads, "fetch.queue.backoff.ms", "5");
    set(writes, "linger.ms", argv[7]), set(writes, "queue.buffering.max.messages", "500000"), set(writes, "retry.backoff.ms", "10");
    set(writes, "enable.idempotence", "true");
    if (exactly) set(writes, "transactional.id", group);
    rd_kafka_t *consumer = rd_kafka_new(1, reads, why, sizeof why), *producer = rd_kafka_new(0, writes, why, sizeof why);
    if (!consumer || !producer) die("client", why);
    rd_kafka_poll_set_consumer(consumer);
    list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, in, -1);
    rd_kafka_subscribe(consumer, topics);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, out, NULL);
    if (exactly) ok(rd_kafka_init_transactions(producer, 30000), "init"), ok(rd_kafka_begin_transaction(producer), "begin");

    static message_t *got[BATCH], sent[BATCH];
    static uint8_t space[BATCH][WIDE];
    struct timespec now, before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int running = 1; running;) {
        running = !stopped;
        ssize_t count = running ? rd_kafka_consume_batch_queue(queue, 10, got, BATCH) : 0;
        int made = 0;
        for (ssize_t i = 0; i < count; i++) {
            message_t *message = got[i];
            if (message->err) continue;
            const uint8_t *at = message->payload, *end = at + message->len, *id = NULL;
            uint32_t framed = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
            if (message->len < 80 || at[0] || framed != id_in) die("record", "another schema");
            int64_t id_size = 0, key = 0;
            at += 5;
            for (int text = 0; text < 3; text++) {
                int64_t size = number(&at, end);
                if (size < 0 || size > end - at) die("record", "a text without end");
                if (text == 0) id = at, id_size = size;
                if (text == 1 && by_key) for (int64_t place = 1; place < size; place++) key = key * 10 + at[place] - '0';
                at += size;
            }
            if (end - at < FIELDS * 8 || id_size > 32) die("record", "cut off");
            double x[FIELDS], score = bias;
            memcpy(x, at, sizeof x);
            at += sizeof x;
            int64_t at_ms = number(&at, end);
            number(&at, end);
            if (by_key) score += windowed(windows + (key & (KEYS - 1)) * WINDOWS, at_ms, x[0], w);
            else for (int place = 0; place < FIELDS; place++) score += w[place] * x[place];
            uint8_t *to = space[made];
            *to++ = 0, *to++ = (uint8_t)(id_out >> 24), *to++ = (uint8_t)(id_out >> 16), *to++ = (uint8_t)(id_out >> 8), *to++ = (uint8_t)id_out;
            to = put_number(to, id_size);
            memcpy(to, id, (size_t)id_size);
            to = put_number(to + id_size, at_ms);
            memcpy(to, &score, 8);
            to += 8;
            sent[made] = (message_t){0, NULL, message->partition, space[made], (size_t)(to - space[made]), message->key, message->key_len, 0, NULL};
            made++;
        }
        if (made && rd_kafka_produce_batch(topic, -1, COPY | BLOCK | PARTITION, sent, made) != made) die("produce", "not all were taken");
        for (ssize_t i = 0; i < count; i++) rd_kafka_message_destroy(got[i]);
        rd_kafka_poll(producer, 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (running && (double)(now.tv_sec - before.tv_sec) + (double)(now.tv_nsec - before.tv_nsec) / 1e9 < interval_s) continue;
        before = now;
        list_t *places = NULL;
        if (rd_kafka_assignment(consumer, &places) || !places->cnt) continue;
        rd_kafka_position(consumer, places);
        if (exactly) {
            rd_kafka_cgmd_t *member = rd_kafka_consumer_group_metadata(consumer);
            ok(rd_kafka_send_offsets_to_transaction(producer, places, member, 30000), "offsets");
            ok(rd_kafka_commit_transaction(producer, 30000), "commit");
            if (running) ok(rd_kafka_begin_transaction(producer), "begin");
            rd_kafka_consumer_group_metadata_destroy(member);
        } else {
            rd_kafka_flush(producer, 30000);
            rd_kafka_commit(consumer, places, 0);
        }
        rd_kafka_topic_partition_list_destroy(places);
    }
    rd_kafka_consumer_close(consumer);
    return 0;
}
