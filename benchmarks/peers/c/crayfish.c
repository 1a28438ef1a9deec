/* crayfish: what the events of the Crayfish benchmark cost in C with librdkafka alone.
 *
 *   crayfish BOOTSTRAP IN OUT GROUP exactly_once|at_least_once COMMIT_MS LINGER_MS avro|json WEIGHTS
 *
 * It reads 784 numbers, answers with the FFNN 784-32-32-32-32-10 four rows at a time, and writes: Avro ten doubles and the creation time,
 * JSON the whole event with its prediction. Of JSON it knows the one form that these events have; with AVX2 it finds all commas first and
 * reads sixteen digits at once. WEIGHTS: a file of float32, for each layer the weights, inputs by outputs, and the biases.
 */
#include "client.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

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

static const double TENS[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* The number at this place, which a comma follows; and the place behind the comma. */
static float digits(const char **at) {
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

#ifdef __AVX2__
/* The first IN commas from this place on, 64 bytes at a time. */
static void commas(const char *at, const char *stop, const char **ends) {
    const __m256i comma = _mm256_set1_epi8(',');
    int count = 0;
    for (; count < IN && at + 64 <= stop; at += 64) {
        uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)at), comma));
        uint64_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(at + 32)), comma));
        uint64_t marks = high << 32 | low;
        int more = __builtin_popcountll(marks);
        for (int i = 0; i < 8; i++, marks &= marks - 1) ends[count + i] = at + (marks ? __builtin_ctzll(marks) : 64);
        for (int i = 8; i < more; i++, marks &= marks - 1) ends[count + i] = at + __builtin_ctzll(marks);
        count += more;
    }
    for (; count < IN; at++) {
        if (at == stop) die("record", "too few numbers");
        if (*at == ',') ends[count++] = at;
    }
}

/* The digits, at most 15, before this place as a number; *wrong where one is none. */
static inline int64_t digits_before(const char *end, int count, int *wrong) {
    const __m128i places = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(end - 16)), _mm_set1_epi8('0'));
    x = _mm_and_si128(x, _mm_cmpgt_epi8(places, _mm_set1_epi8((char)(15 - count))));
    __m128i beyond = _mm_subs_epu8(x, _mm_set1_epi8(9));
    *wrong = !_mm_testz_si128(beyond, beyond);
    x = _mm_maddubs_epi16(x, _mm_set1_epi16(0x010A));
    x = _mm_madd_epi16(x, _mm_set1_epi32(0x00010064));
    x = _mm_madd_epi16(_mm_packus_epi32(x, x), _mm_set1_epi32(0x00012710));
    uint64_t halves = (uint64_t)_mm_cvtsi128_si64(x);
    return (int64_t)(halves & 0xffffffff) * 100000000 + (int64_t)(halves >> 32);
}

static void numbers(const char *at, const char *stop, float *x) {
    static const char *ends[IN + 64];
    static double above[IN], below[IN];
    commas(at, stop, ends);
    for (int place = 0; place < IN; place++) {
        int count = (int)(ends[place] - at) - 2, wrong = 1;
        if (count > 0 && count < 16 && at[0] == '0' && at[1] == '.') {
            above[place] = (double)digits_before(ends[place], count, &wrong);
            below[place] = TENS[count];
        }
        const char *slow = at;
        if (wrong) above[place] = (double)digits(&slow), below[place] = 1;
        at = ends[place] + 1;
    }
    for (int place = 0; place < IN; place++) x[place] = (float)(above[place] / below[place]);
}
#else
static void numbers(const char *at, const char *stop, float *x) {
    (void)stop;
    for (int place = 0; place < IN; place++) x[place] = digits(&at);
}
#endif

static int64_t read_event(const message_t *message, float *x) {
    if (json) {
        const char *at = memmem(message->payload, message->len, POINT, sizeof POINT - 1);
        if (!at || message->len < 64 || memcmp((char *)message->payload + message->len - (sizeof LAST - 1), LAST, sizeof LAST - 1)) die("record", "another form");
        at += sizeof POINT - 1;
        numbers(at, (const char *)message->payload + message->len, x);
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
