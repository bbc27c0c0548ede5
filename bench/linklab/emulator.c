/* A path between two network namespaces: packets read from one TUN device are written to the other, after the rate,
 * delay, loss and queue that the arguments ask for. One process, one thread, no allocation a packet.
 *
 *   emulator server=NETNS:IF client=NETNS:IF seed=N {down|up}.KEY=VALUE…
 *
 * A packet's way through one direction (path.c): policer, loss, drop-tail queue, bottleneck, delay. Here is the rest: the
 * devices, the clock, the statistics.
 *
 * Says "ready" on standard output when both devices exist; statistics as one line of JSON on SIGUSR1 and at its end
 * (SIGTERM, or standard input closed: the parent is gone). SIGUSR2 re-arms the clock of the rate steps. */
#define _GNU_SOURCE
#include "path.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };
static const double BIN = 1e8, LATE = 2e6;
static const double QUANTUM = 1e5; /* under load: rest this long between two rounds, as a network card coalesces */

static const double EARLY = 2e5; /* a packet is read and goes out about 0.1 ms late each: the time that waking up takes */

static const double QUIET = 3e6, AWAKE = 4e5; /* after so long a rest a machine wakes up late: so wake up earlier */

static struct direction down = {.name = "down"}, up = {.name = "up"};
static struct timespec started;
static volatile sig_atomic_t ending, asked, rearmed;
static uint64_t rounds, stalls;
static double stall_max, stalled_since = -1; /* the time that we asked for, if we came over 2 ms after it */
static int real_time;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)(t.tv_sec - started.tv_sec) * SECOND + (double)(t.tv_nsec - started.tv_nsec);
}

static int receive(struct direction *d) {
    int count = 0;
    double idle_since = stalled_since > d->departed ? stalled_since : d->departed, woke = now();
    for (; count < BATCH; count++) {
        uint32_t slot = d->free_count ? d->free_slots[d->free_count - 1] : SLOTS; /* the last one only drains */
        ssize_t length = read(d->from, d->packets[slot].data, MTU);
        if (length < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (length <= 0) die("%s: read: %s", d->name, strerror(errno));
        d->read_packets++;
        d->read_bytes += (uint64_t)length;
        if (slot == SLOTS) { d->no_slot++; continue; }
        d->packets[slot].length = (uint16_t)length;
        if (admitted(d, slot, now())) d->free_count--;
    }
    if (stalled_since >= 0 && count && woke > idle_since) d->starved += woke - idle_since;
    return count;
}

static void record(struct direction *d, const struct packet *p, double at, double lateness) {
    d->delivered_packets++;
    d->delivered_bytes += p->length;
    d->lateness_sum += lateness;
    if (lateness > d->lateness_max) d->lateness_max = lateness;
    if (lateness > LATE) d->late++;
    d->queued_sum += p->queued;
    if (p->queued > d->queued_max) d->queued_max = p->queued;
    uint64_t number = (uint64_t)(at / BIN);
    struct bin *bin = &d->bins[number % BINS];
    if (bin->number != number) *bin = (struct bin){.number = number};
    bin->bytes += p->length;
    bin->packets++;
    bin->queued += p->queued;
}

static int deliver(struct direction *d) {
    int count = 0;
    for (double at = now(); count < BATCH && d->heap_size && d->heap[0].at <= at + EARLY; count++, at = now()) {
        uint32_t slot = d->heap[0].slot;
        struct packet *p = &d->packets[slot];
        if (write(d->to, p->data, p->length) == p->length) record(d, p, at, at - d->heap[0].at);
        else d->write_errors++;
        pop(d);
        d->free_slots[d->free_count++] = slot;
    }
    return count;
}

/* -- statistics ------------------------------------------------------------------------------------------------- */

/* Packets that the device threw away because they were not read in time: the kernel's own count. */
static long device_drops(const struct direction *d) {
    static char text[1 << 16];
    ssize_t length = pread(d->drops_fd, text, sizeof text - 1, 0);
    if (length <= 0) return -1;
    text[length] = 0;
    char name[IFNAMSIZ + 1];
    snprintf(name, sizeof name, "%s:", d->from_interface);
    const char *line = strstr(text, name);
    long drops = -1;
    if (line) sscanf(line + strlen(name), "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld", &drops);
    return drops;
}

static void print_direction(const struct direction *d, double at) {
    double n = d->delivered_packets ? (double)d->delivered_packets : 1;
    printf("\"%s\":{\"read_packets\":%lu,\"read_bytes\":%lu,\"delivered_packets\":%lu,\"delivered_bytes\":%lu,\"lost\":%lu,"
           "\"policed\":%lu,\"overflowed\":%lu,\"reordered\":%lu,\"late\":%lu,\"starved_s\":%.4f,\"no_slot\":%lu,\"write_errors\":%lu,"
           "\"device_drops\":%ld,\"lateness_mean_ms\":%.4f,\"lateness_max_ms\":%.4f,\"queued_mean_ms\":%.4f,"
           "\"queued_max_ms\":%.4f,",
           d->name, d->read_packets, d->read_bytes, d->delivered_packets, d->delivered_bytes, d->lost, d->policed,
           d->overflowed, d->reordered, d->late, d->starved / SECOND, d->no_slot, d->write_errors, device_drops(d),
           d->lateness_sum / n / MS, d->lateness_max / MS, d->queued_sum / n / MS, d->queued_max / MS);
    if (d->clock_start >= 0)
        printf("\"clock_start_s\":%.6f,", (double)started.tv_sec + ((double)started.tv_nsec + d->clock_start) / SECOND);
    uint64_t last = (uint64_t)(at / BIN), first = last >= BINS ? last - BINS + 1 : 0;
    printf("\"bins_start_s\":%.6f,\"bin_bytes\":[",
           (double)started.tv_sec + ((double)started.tv_nsec + (double)first * BIN) / SECOND);
    for (uint64_t i = first; i <= last; i++) {
        const struct bin *bin = &d->bins[i % BINS];
        printf("%s%u", i == first ? "" : ",", bin->number == i ? bin->bytes : 0);
    }
    printf("],\"bin_queued_ms\":[");
    for (uint64_t i = first; i <= last; i++) {
        const struct bin *bin = &d->bins[i % BINS];
        printf("%s%.2f", i == first ? "" : ",", bin->number == i && bin->packets ? bin->queued / bin->packets / MS : 0);
    }
    printf("]}");
}

static void print_statistics(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    double at = now();
    printf("{\"wall_s\":%.6f,\"cpu_s\":%.6f,\"real_time\":%s,\"rounds\":%lu,\"stalls\":%lu,\"stall_max_ms\":%.4f,",
           at / SECOND, cpu_s, real_time ? "true" : "false", rounds, stalls, stall_max / MS);
    print_direction(&down, at);
    printf(",");
    print_direction(&up, at);
    printf("}\n");
    fflush(stdout);
}

/* -- arguments and start ---------------------------------------------------------------------------------------- */

static void open_device(char *place, int *device, int *drops, char *interface) { /* NETNS:IF */
    char *name = strrchr(place, ':');
    if (!name || strlen(name + 1) >= IFNAMSIZ) die("a device is NETNS:IF, not %s", place);
    *name++ = 0;
    int netns = open(place, O_RDONLY | O_CLOEXEC);
    if (netns < 0 || setns(netns, CLONE_NEWNET)) die("entering %s: %s", place, strerror(errno));
    close(netns);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, name);
    *device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*device < 0 || ioctl(*device, TUNSETIFF, &request)) die("TUN device %s: %s", name, strerror(errno));
    *drops = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC); /* stays this namespace's after we leave it */
    strcpy(interface, name);
}

static void on_signal(int number) {
    if (number == SIGUSR1) asked = 1;
    else if (number == SIGUSR2) rearmed = 1;
    else ending = 1;
}

/* Waits until `until`, a signal, or something readable among the first `count`. */
static void rest(struct pollfd *places, nfds_t count, double until, const sigset_t *mask) {
    double wait = until - now();
    if (wait < 0) wait = 0;
    struct timespec timeout = {(time_t)(wait / SECOND), 0};
    timeout.tv_nsec = (long)(wait - (double)timeout.tv_sec * SECOND);
    if (ppoll(places, count, &timeout, mask) == 0) {
        double over = now() - until;
        if (wait > 0 && over > LATE) stalls++, stalled_since = until;
        if (over > stall_max) stall_max = over;
    }
}

int main(int count, char **arguments) {
    uint64_t seed = 1;
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value) die("not KEY=VALUE: %s", arguments[i]);
        *value++ = 0;
        if (!strcmp(arguments[i], "server")) open_device(value, &down.from, &down.drops_fd, down.from_interface);
        else if (!strcmp(arguments[i], "client")) open_device(value, &up.from, &up.drops_fd, up.from_interface);
        else if (!strcmp(arguments[i], "seed")) seed = strtoull(value, NULL, 10);
        else if (!strncmp(arguments[i], "down.", 5)) set(&down, arguments[i] + 5, value);
        else if (!strncmp(arguments[i], "up.", 3)) set(&up, arguments[i] + 3, value);
        else die("unknown key %s", arguments[i]);
    }
    if (!*down.from_interface || !*up.from_interface) die("server=NETNS:IF and client=NETNS:IF are needed");
    down.to = up.from, up.to = down.from;
    allocate(&down, 2 * seed);
    allocate(&up, 2 * seed + 1);

    prctl(PR_SET_TIMERSLACK, 1);
    real_time = sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 10}) == 0;
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked, open_mask;
    sigemptyset(&blocked);
    for (const int *s = (const int[]){SIGTERM, SIGINT, SIGUSR1, SIGUSR2, 0}; *s; s++)
        sigaction(*s, &action, NULL), sigaddset(&blocked, *s);
    sigprocmask(SIG_BLOCK, &blocked, &open_mask);
    clock_gettime(CLOCK_MONOTONIC, &started);
    printf("ready\n");
    fflush(stdout);

    double vigil = -1;
    struct pollfd places[] = {{.fd = STDIN_FILENO}, {down.from, POLLIN, 0}, {up.from, POLLIN, 0}};
    while (!ending && !(places[0].revents & (POLLHUP | POLLERR))) {
        rounds++;
        int in = receive(&down), back = receive(&up), out = deliver(&down), home = deliver(&up);
        stalled_since = -1;
        if (asked) asked = 0, print_statistics();
        if (rearmed) rearmed = 0, down.clock_start = up.clock_start = -1;
        double at = now(), until = at + SECOND;
        if (in == BATCH || back == BATCH || out == BATCH || home == BATCH) rest(places, 1, at, &open_mask);
        else if (in || back || out || home) rest(places, 1, at + QUANTUM, &open_mask);
        else {
            if (down.heap_size && down.heap[0].at - EARLY < until) until = down.heap[0].at - EARLY;
            if (up.heap_size && up.heap[0].at - EARLY < until) until = up.heap[0].at - EARLY;
            if (until - at > QUIET) vigil = until, until -= AWAKE;
            else if (until == vigil) until = at; /* the packet that we woke up early for: spin */
            rest(places, 3, until, &open_mask);
        }
    }
    print_statistics();
    return 0;
}
