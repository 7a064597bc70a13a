/* Puts load on a server: many connections, one message in flight on each, in one process with epoll.
 *
 *     load PORT echo|http SIZE CONNECTIONS SECONDS
 *
 * echo: sends SIZE bytes and waits until as many have come back. http: sends a GET and waits for the whole
 * response. Prints one line of JSON: operations, seconds, and the latency in microseconds (median, 99th
 * percentile). Anything unexpected ends it with a message and status 1. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4000 }; /* of the histogram, 1% each */

struct connection {
    int fd;
    size_t sent, received, expected; /* of the present message; expected is 0 while that is not known */
    double started;
    char head[4096]; /* what has come of an HTTP response */
};

static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
static char *message, sink[1 << 18];
static size_t size;
static int is_http;
static long histogram[SLOTS], operations;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void count(double latency) {
    int slot = 0;
    for (double limit = 1e-6; limit < latency && slot < SLOTS - 1; limit *= 1.01) slot++;
    histogram[slot]++;
    operations++;
}

static double percentile(double share) {
    long left = operations * share;
    double limit = 1e-6;
    for (int slot = 0; slot < SLOTS && (left -= histogram[slot]) > 0; slot++) limit *= 1.01;
    return limit * 1e6;
}

/* Writes what can be written of the present message. */
static void push(struct connection *c) {
    while (c->sent < size) {
        ssize_t n = write(c->fd, message + c->sent, size - c->sent);
        if (n < 0) {
            if (errno == EAGAIN) return;
            die("write");
        }
        c->sent += n;
    }
}

static void begin(struct connection *c) {
    c->sent = c->received = 0;
    c->expected = is_http ? 0 : size;
    c->started = now();
    push(c);
}

/* How long the response is, if enough of it has come to tell. */
static size_t response_size(struct connection *c) {
    c->head[c->received] = 0;
    char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "content-length:");
    if (!end) return 0;
    if (strncmp(c->head, "HTTP/1.1 200", 12) || !length) {
        errno = EPROTO;
        die("response");
    }
    return end + 4 - c->head + strtoul(length + 15, NULL, 10);
}

static void pull(struct connection *c) {
    for (;;) {
        char *into = sink;
        size_t most = sizeof sink;
        if (!c->expected) {
            into = c->head + c->received;
            most = sizeof c->head - 1 - c->received;
        }
        ssize_t n = read(c->fd, into, most);
        if (n == 0) errno = ECONNRESET;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) die("read");
        c->received += n;
        if (!c->expected) c->expected = response_size(c);
        if (c->expected && c->received >= c->expected) {
            count(now() - c->started);
            begin(c);
        }
        if ((size_t)n < most) return;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "load PORT echo|http SIZE CONNECTIONS SECONDS\n"), 2;
    is_http = !strcmp(argv[2], "http");
    size = is_http ? sizeof request - 1 : strtoul(argv[3], NULL, 10);
    int many = atoi(argv[4]);
    message = calloc(1, size + 1);
    if (is_http) memcpy(message, request, size);
    struct connection *connections = calloc(many, sizeof *connections);
    struct sockaddr_in to = {AF_INET, htons(atoi(argv[1])), {htonl(INADDR_LOOPBACK)}, {0}};
    int poller = epoll_create1(0), on = 1;

    for (int i = 0; i < many; i++) {
        struct connection *c = &connections[i];
        if ((c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) die("socket");
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
    }
    double started = now(), end = started + atof(argv[5]);
    for (int i = 0; i < many; i++) begin(&connections[i]);
    while (now() < end || !operations) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) push(c);
            if (events[i].events & ~EPOLLOUT) pull(c);
        }
    }
    printf("{\"operations\": %ld, \"seconds\": %.6f, \"median\": %.1f, \"p99\": %.1f}\n", operations,
           now() - started, percentile(0.5), percentile(0.99));
    return 0;
}
