/* crayfish: what the events of the Crayfish benchmark cost in C with librdkafka alone.
 *
 *   crayfish BOOTSTRAP IN OUT GROUP exactly_once|at_least_once COMMIT_MS LINGER_MS avro|json WEIGHTS
 *
 * It reads 784 numbers, answers with the FFNN 784-32-32-32-32-10 four rows at a time, and writes: Avro ten doubles and the creation time,
 * JSON the whole event with its prediction. Of JSON it knows the one form that these events have. WEIGHTS: a file of float32, for each
 * layer the weights, inputs by outputs, and the biases.
 */
#include "client.h"

enum { LAYERS = 5, IN = 784, WIDE = 32, OUT = 10, ROWS = 4, WEIGHTS = IN * WIDE + WIDE + 3 * (WIDE * WIDE + WIDE) + WIDE * OUT + OUT };
static const int WIDTHS[LAYERS + 1] = {IN, WIDE, WIDE, WIDE, WIDE, OUT};
static const char POINT[] = "\"dataPoint\":\"", LAST[] = "\",\"prediction\":null}";
static float weights[WEIGHTS];
static int json;

/* y[r][o] = b[o] + sum of x[r][i] w[i][o]; outs: a constant, so that the loop over it becomes vectors. */
static inline void layer(int ins, const int outs, const float *w, const float (*x)[IN], float (*y)[IN], int relu) {
    float sum[ROWS][WIDE];
    for (int r = 0; r < ROWS; r++) memcpy(sum[r], w + ins * outs, sizeof *w * (size_t)outs);
    for (int i = 0; i < ins; i++, w += outs)
        for (int r = 0; r < ROWS; r++)
            for (int o = 0; o < outs; o++) sum[r][o] += x[r][i] * w[o];
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < outs; o++) y[r][o] = relu && sum[r][o] < 0 ? 0 : sum[r][o];
}

static float *net(float (*x)[IN], float (*y)[IN]) {
    const float *w = weights;
    for (int place = 0; place < LAYERS; place++) {
        if (place < LAYERS - 1) layer(WIDTHS[place], WIDE, w, (const float (*)[IN])x, y, 1);
        else layer(WIDE, OUT, w, (const float (*)[IN])x, y, 0);
        w += (WIDTHS[place] + 1) * WIDTHS[place + 1];
        float (*last)[IN] = x;
        x = y, y = last;
    }
    return x[0];
}

/* The number at this place, which a comma follows; and the place behind the comma. */
static float digits(const char **at) {
    static const double TENS[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *begin = *at;
    if (begin[0] == '0' && begin[1] == '.') {
        const char *place = begin + 2;
        int64_t value = 0;
        for (; *place >= '0' && *place <= '9' && place - begin < 17; place++) value = value * 10 + (*place - '0');
        if (*place == ',') {
            *at = place + 1;
            return (float)((double)value / TENS[place - begin - 2]);
        }
    }
    char *end;
    float found = strtof(begin, &end);
    if (end == begin || *end != ',') die("record", "no number");
    *at = end + 1;
    return found;
}

static int64_t read_event(const message_t *message, float *x) {
    if (json) {
        const char *at = memmem(message->payload, message->len, POINT, sizeof POINT - 1);
        if (!at || message->len < 64 || memcmp((char *)message->payload + message->len - (sizeof LAST - 1), LAST, sizeof LAST - 1)) die("record", "another form");
        at += sizeof POINT - 1;
        for (int place = 0; place < IN; place++) x[place] = digits(&at);
        return 0;
    }
    const uint8_t *at = message->payload, *end = at + message->len;
    int64_t created = number(&at, end);
    if (number(&at, end) != IN * (int64_t)sizeof *x || end - at != IN * (int64_t)sizeof *x) die("record", "another width");
    memcpy(x, at, IN * sizeof *x);
    return created;
}

static size_t write_event(const message_t *message, int64_t created, const float *y, uint8_t *space) {
    uint8_t *to = space;
    if (json) {
        size_t kept = message->len - 5; /* null} */
        memcpy(to, message->payload, kept);
        to += kept;
        *to++ = '"';
        for (int o = 0; o < OUT; o++) to += sprintf((char *)to, "%c%.9g", o ? ',' : '[', (double)y[o]);
        memcpy(to, "]\"}", 3);
        return (size_t)(to + 3 - space);
    }
    to = put_number(to, OUT);
    for (int o = 0; o < OUT; o++, to += sizeof(double)) memcpy(to, &(double){y[o]}, sizeof(double));
    *to++ = 0;
    return (size_t)(put_number(to, created) - space);
}

static void answer(message_t **got, int count, uint8_t *space, message_t *sent) {
    static float x[ROWS][IN], y[ROWS][IN];
    const size_t wide = json ? 16384 : 128;
    for (int first = 0; first < count; first += ROWS) {
        int rows = count - first < ROWS ? count - first : ROWS;
        int64_t created[ROWS];
        for (int r = 0; r < rows; r++) created[r] = read_event(got[first + r], x[r]);
        const float *found = net(x, y);
        for (int r = 0; r < rows; r++, space += wide) {
            if (got[first + r]->len + 512 > wide && json) die("record", "too long");
            sent[first + r].payload = space;
            sent[first + r].len = write_event(got[first + r], created[r], found + r * IN, space);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != ARGUMENTS + 2) die("arguments", "too few or too many");
    json = !strcmp(argv[8], "json");
    FILE *file = fopen(argv[9], "rb");
    if (!file || fread(weights, sizeof *weights, WEIGHTS, file) != WEIGHTS) die("weights", "too few");
    fclose(file);
    return run(argv, &(task_t){json ? 200 : 1000, json ? 16384 : 128, answer});
}
