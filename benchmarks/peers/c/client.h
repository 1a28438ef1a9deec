/* client: what the programs of this folder share: librdkafka, and the loop of consume_batch, one pass over the records, produce_batch.
 *
 *   PROGRAM BOOTSTRAP IN OUT GROUP exactly_once|at_least_once COMMIT_MS LINGER_MS …
 *
 * Each record's partition and key are kept; offsets, or the transaction, are committed on the interval. Nothing can be configured.
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

enum { BATCH_MAX = 1000, COPY = 2, BLOCK = 4, PARTITION = 8, ARGUMENTS = 8 };
/* What a program does: payload and len of sent[i] from got[i], in space of its own. batch: records at once; wide: bytes of an answer at most. */
typedef struct { int batch; size_t wide; void (*answer)(message_t **got, int count, uint8_t *space, message_t *sent); } task_t;
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

/* Waits for one record, not until there are as many as there is room for. */
static ssize_t take(rd_kafka_queue_t *queue, message_t **got, size_t most) {
    if (rd_kafka_consume_batch_queue(queue, 10, got, 1) != 1) return 0;
    ssize_t more = rd_kafka_consume_batch_queue(queue, 0, got + 1, most - 1);
    return 1 + (more > 0 ? more : 0);
}

static int run(char **argv, const task_t *task) {
    const char *in = argv[2], *group = argv[4];
    int exactly = !strcmp(argv[5], "exactly_once");
    double interval_s = atof(argv[6]) / 1000;
    signal(SIGTERM, stop);

    char why[256];
    rd_kafka_conf_t *reads = rd_kafka_conf_new(), *writes = rd_kafka_conf_new();
    set(reads, "bootstrap.servers", argv[1]), set(writes, "bootstrap.servers", argv[1]);
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
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[3], NULL);
    if (exactly) ok(rd_kafka_init_transactions(producer, 30000), "init"), ok(rd_kafka_begin_transaction(producer), "begin");

    static message_t *got[BATCH_MAX], sent[BATCH_MAX];
    uint8_t *space = malloc(task->wide * (size_t)task->batch);
    if (!space) die("memory", "too little");
    struct timespec now, before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int running = 1; running;) {
        running = !stopped;
        ssize_t count = running ? take(queue, got, (size_t)task->batch) : 0;
        int good = 0;
        for (ssize_t i = 0; i < count; i++) {
            if (got[i]->err) rd_kafka_message_destroy(got[i]);
            else got[good++] = got[i];
        }
        for (int i = 0; i < good; i++) sent[i] = (message_t){0, NULL, got[i]->partition, NULL, 0, got[i]->key, got[i]->key_len, 0, NULL};
        if (good) task->answer(got, good, space, sent);
        if (good && rd_kafka_produce_batch(topic, -1, COPY | BLOCK | PARTITION, sent, good) != good) die("produce", "not all were taken");
        for (int i = 0; i < good; i++) rd_kafka_message_destroy(got[i]);
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
