/* What happens to a packet of one direction, decided at once when it is read: the queue is first in first out and the
 * bottleneck's future is known, so its departure follows from the last one. What remains is a heap by the time due. */
#define _GNU_SOURCE
#include "path.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const int LOAD_BYTES = 1000; /* a packet this long starts the clock of the rate steps */

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulator: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static uint64_t mixed(uint64_t x) { /* splitmix64's finaliser */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }
static double drawn(struct direction *d) { return unit(mixed(d->random += 0x9e3779b97f4a7c15u)); }

/* -- the bottleneck: when a packet that is in front of it at `at` has left it ------------------------------------ */

static void fill(struct bucket *b, double at) {
    if (at <= b->at) return;
    b->tokens += b->rate * (at - b->at);
    if (b->tokens > b->size) b->tokens = b->size;
    b->at = at;
}

static double after_steps(const struct direction *d, double at, double bytes) {
    if (d->clock_start < 0) return at + bytes / d->step_rate[0];
    int i = d->steps - 1;
    while (i > 0 && at < d->clock_start + d->step_at[i]) i--;
    for (;; i++) {
        double end = i + 1 < d->steps ? d->clock_start + d->step_at[i + 1] : 1e300;
        double could = d->step_rate[i] > 0 ? d->step_rate[i] * (end - at) : 0;
        if (could >= bytes) return at + bytes / d->step_rate[i];
        bytes -= could;
        at = end;
    }
}

static double opportunity(const struct direction *d) { return (double)d->cycle * d->period + d->trace[d->cursor]; }

static void next_opportunity(struct direction *d) {
    d->left = MTU;
    if (++d->cursor == d->opportunities) d->cursor = 0, d->cycle++;
}

static double after_trace(struct direction *d, double at, double bytes) {
    if (opportunity(d) < at) { /* the queue was empty: what passed unused is lost */
        uint64_t cycle = (uint64_t)(at / d->period);
        double within = at - (double)cycle * d->period;
        size_t low = 0, high = d->opportunities;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (d->trace[middle] < within) low = middle + 1; else high = middle;
        }
        d->cycle = cycle, d->cursor = low, d->left = MTU;
        if (low == d->opportunities) d->cursor = 0, d->cycle++;
    }
    while (bytes > d->left) bytes -= d->left, next_opportunity(d);
    d->left -= bytes;
    double left_at = opportunity(d);
    return left_at > at ? left_at : at;
}

static double after_boost(struct direction *d, double at, double bytes) {
    struct bucket *b = &d->boost;
    fill(b, at);
    double done = at + bytes / d->rate, wait = at + (bytes - b->tokens) / b->rate;
    if (wait > done) done = wait;
    fill(b, done);
    b->tokens -= bytes;
    return done;
}

static double bottleneck(struct direction *d, double at, int length) {
    if (at < d->departed) at = d->departed;
    if (d->trace) return after_trace(d, at, length);
    if (d->steps) return after_steps(d, at, length);
    if (d->boost.rate > 0) return after_boost(d, at, length);
    return d->rate > 0 ? at + length / d->rate : at;
}

/* -- delay ------------------------------------------------------------------------------------------------------ */

/* With reordering every packet draws its own jitter. Without, the delay drifts between points drawn every few
 * milliseconds: independent draws that may not overtake would only ever show the largest of them. */
static double jitter(struct direction *d, double at) {
    if (d->jitter <= 0) return 0;
    if (d->jitter_reorders) return (2 * drawn(d) - 1) * d->jitter;
    double place = at / d->jitter_every;
    uint64_t point = (uint64_t)place;
    double a = unit(mixed(d->seed ^ mixed(point))), b = unit(mixed(d->seed ^ mixed(point + 1)));
    return (2 * (a + (b - a) * (place - (double)point)) - 1) * d->jitter;
}

static double arrival(struct direction *d, double departed) {
    double at = departed + d->delay + jitter(d, departed);
    if (d->reorder > 0 && drawn(d) < d->reorder) {
        d->reordered++;
        return at + d->reorder_late;
    }
    if (d->jitter_reorders) return at;
    if (at < d->last_due) at = d->last_due;
    return d->last_due = at;
}

static int before(const struct due *a, const struct due *b) {
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct direction *d, double at, uint32_t slot) {
    struct due entry = {at, d->order++, slot};
    uint32_t i = d->heap_size++;
    for (; i > 0 && before(&entry, &d->heap[(i - 1) / 2]); i = (i - 1) / 2) d->heap[i] = d->heap[(i - 1) / 2];
    d->heap[i] = entry;
}

void pop(struct direction *d) {
    struct due last = d->heap[--d->heap_size];
    uint32_t i = 0, child;
    for (; (child = 2 * i + 1) < d->heap_size; i = child) {
        if (child + 1 < d->heap_size && before(&d->heap[child + 1], &d->heap[child])) child++;
        if (before(&last, &d->heap[child])) break;
        d->heap[i] = d->heap[child];
    }
    d->heap[i] = last;
}

/* -- a packet comes, a packet goes ------------------------------------------------------------------------------ */

static int is_lost(struct direction *d) {
    if (d->burst_leave > 0) {
        d->in_burst = d->in_burst ? drawn(d) >= d->burst_leave : drawn(d) < d->burst_enter;
        if (d->in_burst) return 1;
    }
    return d->loss > 0 && drawn(d) < d->loss;
}

int admitted(struct direction *d, uint32_t slot, double at) {
    struct packet *p = &d->packets[slot];
    if (d->clock_start < 0 && p->length >= LOAD_BYTES) d->clock_start = at;
    if (d->police.rate > 0) {
        fill(&d->police, at);
        if (d->police.tokens < p->length) return d->policed++, 0;
        d->police.tokens -= p->length;
    }
    if (is_lost(d)) return d->lost++, 0;
    for (; d->queue_head != d->queue_tail && d->queue[d->queue_head % SLOTS].at <= at; d->queue_head++)
        d->queued_bytes -= d->queue[d->queue_head % SLOTS].length;
    if (d->queued_bytes + p->length > d->buffer) return d->overflowed++, 0;
    d->departed = bottleneck(d, at, p->length);
    d->queue[d->queue_tail++ % SLOTS] = (struct departure){d->departed, p->length};
    d->queued_bytes += p->length;
    p->queued = (float)(d->departed - at);
    push(d, arrival(d, d->departed), slot);
    return 1;
}

/* -- what is asked ----------------------------------------------------------------------------------------------- */

static void read_trace(struct direction *d, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die("%s: %s", path, strerror(errno));
    size_t room = 1 << 16;
    unsigned long ms;
    d->trace = malloc(room * sizeof *d->trace);
    while (d->trace && fscanf(file, "%lu", &ms) == 1) {
        if (d->opportunities == room) d->trace = realloc(d->trace, (room *= 2) * sizeof *d->trace);
        if (d->trace) d->trace[d->opportunities++] = (double)ms * MS;
    }
    fclose(file);
    if (!d->trace || !d->opportunities || d->trace[d->opportunities - 1] <= 0) die("%s: not a trace", path);
    d->period = d->trace[d->opportunities - 1];
    d->left = MTU;
}

static struct bucket bucket(const char *value) { /* bytes a second, bytes */
    struct bucket b = {0};
    if (sscanf(value, "%lf,%lf", &b.rate, &b.size) != 2) die("a bucket is RATE,SIZE, not %s", value);
    b.rate /= SECOND;
    b.tokens = b.size;
    return b;
}

static void read_steps(struct direction *d, char *value) { /* seconds:bytes a second,… */
    for (char *rest, *part = strtok_r(value, ",", &rest); part; part = strtok_r(NULL, ",", &rest), d->steps++) {
        double at, rate;
        if (d->steps == STEPS_MAX || sscanf(part, "%lf:%lf", &at, &rate) != 2) die("steps: %s", part);
        d->step_at[d->steps] = at * SECOND, d->step_rate[d->steps] = rate / SECOND;
    }
}

void set(struct direction *d, const char *key, char *value) {
    double number = atof(value);
    if (!strcmp(key, "rate")) d->rate = number / SECOND;
    else if (!strcmp(key, "steps")) read_steps(d, value);
    else if (!strcmp(key, "trace")) read_trace(d, value);
    else if (!strcmp(key, "boost")) d->boost = bucket(value);
    else if (!strcmp(key, "police")) d->police = bucket(value);
    else if (!strcmp(key, "delay_ms")) d->delay = number * MS;
    else if (!strcmp(key, "jitter_ms")) d->jitter = number * MS;
    else if (!strcmp(key, "jitter_every_ms")) d->jitter_every = number * MS;
    else if (!strcmp(key, "jitter_reorders")) d->jitter_reorders = number != 0;
    else if (!strcmp(key, "loss")) d->loss = number;
    else if (!strcmp(key, "burst_enter")) d->burst_enter = number;
    else if (!strcmp(key, "burst_leave")) d->burst_leave = number;
    else if (!strcmp(key, "reorder")) d->reorder = number;
    else if (!strcmp(key, "reorder_late_ms")) d->reorder_late = number * MS;
    else if (!strcmp(key, "buffer")) d->buffer = (uint64_t)number;
    else die("unknown key %s.%s", d->name, key);
}

void allocate(struct direction *d, uint64_t seed) {
    void *room = mmap(NULL, (SLOTS + 1) * sizeof *d->packets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    d->packets = room;
    d->free_slots = malloc(SLOTS * sizeof *d->free_slots);
    d->heap = malloc(SLOTS * sizeof *d->heap);
    d->queue = malloc(SLOTS * sizeof *d->queue);
    if (room == MAP_FAILED || !d->free_slots || !d->heap || !d->queue) die("no memory");
    for (d->free_count = 0; d->free_count < SLOTS; d->free_count++) d->free_slots[d->free_count] = SLOTS - 1 - d->free_count;
    d->seed = d->random = mixed(seed);
    d->clock_start = -1;
}
