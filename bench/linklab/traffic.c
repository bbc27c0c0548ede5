/* A constant or on-off UDP flow from one network namespace to another, and the count of what arrived.
 *
 *   traffic server=NETNS client=NETNS address=IPV4 port=N rate=BYTES_A_SECOND [on=S off=S] [payload=BYTES]
 *
 * One process holds both ends, so that what was sent and what was received are known together. Rates and bytes are
 * those of IP packets. One line of JSON on SIGUSR1 and at the end (SIGTERM, or standard input closed). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADERS = 28, PAYLOAD_MAX = 65507, RECEIVE_BUFFER = 8 << 20 };
static const double TICK = 250e-6, CATCH_UP = 0.02; /* seconds; what a pause of ours missed beyond this is not sent */

static volatile sig_atomic_t ending, asked;
static unsigned long sent_packets, sent_bytes, received_packets, received_bytes, refused, behind;

static void die(const char *what) {
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int socket_in(const char *netns) {
    int place = open(netns, O_RDONLY | O_CLOEXEC);
    if (place < 0 || setns(place, CLONE_NEWNET)) die(netns);
    close(place);
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) die("socket");
    return made;
}

static void drain(int sink) {
    char byte;
    ssize_t length;
    while ((length = recv(sink, &byte, 1, MSG_TRUNC)) >= 0) {
        received_packets++;
        received_bytes += (unsigned long)length + HEADERS;
    }
}

static void print_counts(double started) {
    printf("{\"wall_s\":%.6f,\"sent_packets\":%lu,\"sent_bytes\":%lu,\"received_packets\":%lu,\"received_bytes\":%lu,"
           "\"refused\":%lu,\"behind_bytes\":%lu}\n",
           now() - started, sent_packets, sent_bytes, received_packets, received_bytes, refused, behind);
    fflush(stdout);
}

static void on_signal(int number) {
    if (number == SIGUSR1) asked = 1;
    else ending = 1;
}

int main(int count, char **arguments) {
    const char *server = "", *client = "", *address = "";
    double rate = 0, on = 0, off = 0;
    int port = 0, payload = 1472;
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value) die(arguments[i]);
        *value++ = 0;
        if (!strcmp(arguments[i], "server")) server = value;
        else if (!strcmp(arguments[i], "client")) client = value;
        else if (!strcmp(arguments[i], "address")) address = value;
        else if (!strcmp(arguments[i], "port")) port = atoi(value);
        else if (!strcmp(arguments[i], "rate")) rate = atof(value);
        else if (!strcmp(arguments[i], "on")) on = atof(value);
        else if (!strcmp(arguments[i], "off")) off = atof(value);
        else if (!strcmp(arguments[i], "payload")) payload = atoi(value);
        else die(arguments[i]);
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    errno = EINVAL;
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) die("address");
    if (payload < 1 || payload > PAYLOAD_MAX || rate <= 0) die("payload or rate");
    int sink = socket_in(client), room = RECEIVE_BUFFER;
    setsockopt(sink, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (bind(sink, (struct sockaddr *)&to, sizeof to)) die("bind");
    int source = socket_in(server);
    setsockopt(source, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    if (connect(source, (struct sockaddr *)&to, sizeof to)) die("connect");

    static char data[PAYLOAD_MAX];
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked, open_mask;
    sigemptyset(&blocked);
    for (const int *s = (const int[]){SIGTERM, SIGINT, SIGUSR1, 0}; *s; s++)
        sigaction(*s, &action, NULL), sigaddset(&blocked, *s);
    sigprocmask(SIG_BLOCK, &blocked, &open_mask);
    prctl(PR_SET_TIMERSLACK, 1);
    /* below the emulator, above the rest: a source that waits for a processor is no constant source */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 5});
    printf("ready\n");
    fflush(stdout);

    struct pollfd parent = {.fd = STDIN_FILENO};
    double started = now(), last = started, owed = 0;
    while (!ending && !(parent.revents & (POLLHUP | POLLERR))) {
        double at = now(), since = at - last, cycle = on + off;
        last = at;
        if (since > CATCH_UP) behind += (unsigned long)(rate * (since - CATCH_UP)), since = CATCH_UP;
        double within = at - started;
        while (off > 0 && within >= cycle) within -= cycle; /* a run has few cycles */
        if (off > 0 && within >= on) owed = 0;
        else owed += rate * since;
        for (; owed >= payload + HEADERS; owed -= payload + HEADERS) {
            if (send(source, data, (size_t)payload, 0) != payload) refused++;
            else sent_packets++, sent_bytes += (unsigned long)payload + HEADERS;
        }
        drain(sink);
        if (asked) asked = 0, print_counts(started);
        struct timespec tick = {0, (long)(TICK * 1e9)};
        ppoll(&parent, 1, &tick, &open_mask);
    }
    struct timespec grace = {0, 500000000}; /* what is still on its way */
    nanosleep(&grace, NULL);
    drain(sink);
    print_counts(started);
    return 0;
}
