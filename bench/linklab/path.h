/* One direction of the path: what is asked of it, where it stands, what happened to its packets. Knows nothing of
 * devices and clocks. Times are nanoseconds since the start, rates are bytes a nanosecond. */
#ifndef PATH_H
#define PATH_H
#include <net/if.h>
#include <stdint.h>
#include <stddef.h>

enum { MTU = 1500, SLOTS = 1 << 16, STEPS_MAX = 256, BINS = 600 };
#define MS 1e6
#define SECOND 1e9

struct packet { uint16_t length; float queued; uint8_t data[MTU]; };
struct due { double at; uint64_t order; uint32_t slot; };
struct departure { double at; uint32_t length; };
struct bucket { double rate, size, tokens, at; }; /* `at`: when last filled */
struct bin { uint64_t number; uint32_t bytes, packets; double queued; };

struct direction {
    const char *name;
    int from, to, drops_fd;
    char from_interface[IFNAMSIZ];
    /* what is asked */
    double rate;
    double step_at[STEPS_MAX], step_rate[STEPS_MAX]; int steps;
    double *trace; size_t opportunities; double period;
    struct bucket boost, police;
    double delay, jitter, jitter_every; int jitter_reorders;
    double loss, burst_enter, burst_leave;
    double reorder, reorder_late;
    uint64_t buffer;
    uint64_t seed, random;
    /* where it stands */
    double clock_start, departed, last_due;
    uint64_t cycle; size_t cursor; double left;                       /* of the trace: bytes left of the opportunity */
    int in_burst;
    struct packet *packets; uint32_t *free_slots, free_count;
    struct due *heap; uint32_t heap_size; uint64_t order;
    struct departure *queue; uint32_t queue_head, queue_tail; uint64_t queued_bytes;
    /* what happened */
    uint64_t read_packets, read_bytes, delivered_packets, delivered_bytes, lost, policed, overflowed, reordered,
        no_slot, write_errors, late;
    double starved, lateness_sum, lateness_max, queued_sum, queued_max;
    struct bin bins[BINS];
};

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Sets what is asked: see Direction.settings in link.py. */
void set(struct direction *d, const char *key, char *value);

/* Takes memory, and the seed of this direction. */
void allocate(struct direction *d, uint64_t seed);

/* Decides on a packet that was read into a slot at a time: whether it passes, and when it is due (then it is in the heap). */
int admitted(struct direction *d, uint32_t slot, double at);

/* Takes the packet that is due first from the heap. */
void pop(struct direction *d);

#endif
