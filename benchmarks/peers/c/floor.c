/* floor: what these records cost in C with librdkafka alone.
 *
 *   floor BOOTSTRAP IN OUT GROUP exactly_once|at_least_once COMMIT_MS LINGER_MS ID_IN ID_OUT transform|windows BIAS WEIGHT…
 *
 * It decodes Avro as a reader must (varints, strings of any length), scores, encodes. windows: three tumbling windows by key in plain
 * arrays, without changelog. Nothing is validated beyond the frame.
 */
#include "client.h"

enum { WIDE = 64, FIELDS = 8, WINDOWS = 3, KEYS = 1 << 24 };
static const int64_t WIDTH_MS[WINDOWS] = {60000, 600000, 3600000};
typedef struct { int64_t number; double count, sum, min, max; } window_t;
static int by_key;
static double bias, w[16];
static uint32_t id_in, id_out;
static window_t *windows;

static double windowed(window_t *of, int64_t at_ms, double value) {
    const double *of_window = w;
    double score = 0;
    for (int i = 0; i < WINDOWS; i++, of++, of_window += 5) {
        int64_t tile = at_ms / WIDTH_MS[i] + 1; /* never 0, which is what fresh memory holds */
        if (of->number != tile) *of = (window_t){tile, 0, 0, value, value};
        of->count += 1;
        of->sum += value;
        if (value < of->min) of->min = value;
        if (value > of->max) of->max = value;
        score += of_window[0] * of->count + of_window[1] * of->sum + of_window[2] * of->sum / of->count;
        score += of_window[3] * of->min + of_window[4] * of->max;
    }
    return score;
}

static void answer(message_t **got, int count, uint8_t *space, message_t *sent) {
    for (int i = 0; i < count; i++, space += WIDE) {
        message_t *message = got[i];
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
        if (by_key) score += windowed(windows + (key & (KEYS - 1)) * WINDOWS, at_ms, x[0]);
        else for (int place = 0; place < FIELDS; place++) score += w[place] * x[place];
        uint8_t *to = space;
        *to++ = 0, *to++ = (uint8_t)(id_out >> 24), *to++ = (uint8_t)(id_out >> 16), *to++ = (uint8_t)(id_out >> 8), *to++ = (uint8_t)id_out;
        to = put_number(to, id_size);
        memcpy(to, id, (size_t)id_size);
        to = put_number(to + id_size, at_ms);
        memcpy(to, &score, 8);
        to += 8;
sent[i].payload = space, sent[i].len = (size_t)(to - space);
    }
}

int main(int argc, char **argv) {
    if (argc < ARGUMENTS + 4 + FIELDS) die("arguments", "too few");
    by_key = !strcmp(argv[10], "windows"), bias = atof(argv[11]);
    id_in = (uint32_t)atol(argv[8]), id_out = (uint32_t)atol(argv[9]);
    for (int i = 12; i < argc && i < 28; i++) w[i - 12] = atof(argv[i]);
    windows = by_key ? calloc((size_t)KEYS * WINDOWS, sizeof *windows) : NULL; /* pages come when they are touched */
    return run(argv, &(task_t){1000, WIDE, answer});
}
