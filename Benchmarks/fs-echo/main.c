// The least that an application can be, so that what is measured is what is under it; and a client of the
// kernel for bulk transfers, where packets larger than the MTU are part of the comparison.
//
//   fs-echo echo PORT            sends back what it gets
//   fs-echo close PORT           the same, once, and closes
//   fs-echo sink PORT            reads
//   fs-echo source PORT          writes
//   fs-echo push|pull ADDRESS PORT STREAMS SECONDS
//                                writes to a sink, reads from a source; prints the bytes that have arrived,
//                                and seconds
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { ECHO, CLOSE, SINK, SOURCE, PUSH, PULL, UNKNOWN };
static const char *const names[] = {"echo", "close", "sink", "source", "push", "pull"};

static char buffer[256 * 1024];
static unsigned long long transferred;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void watch(int set, int sock, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = sock};
  if (epoll_ctl(set, EPOLL_CTL_ADD, sock, &event) != 0) fail("epoll_ctl");
}

static int listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int on = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (sock < 0) fail("socket");
  setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(sock, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(sock, 65535) != 0) fail("listen");
  return sock;
}

static void accept_all(int set, int listener, enum mode mode) {
  for (;;) {
    int on = 1, sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (sock < 0) return;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(set, sock, mode == SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
}

// Writes once: a peer that reads as fast would keep a loop here for ever. Returns whether the connection is still
// good.
static int write_some(int sock) {
  return send(sock, buffer, sizeof buffer, MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

// Reads, and answers if that is the mode. Returns whether the connection is still good.
static int read_some(int sock, enum mode mode) {
  ssize_t count = recv(sock, buffer, sizeof buffer, 0);
  if (count <= 0) return count < 0 && errno == EAGAIN;
  transferred += count;
  if (mode == ECHO || mode == CLOSE) {
    // Messages are small: one that finds no room has a peer that does not read.
    if (send(sock, buffer, count, MSG_NOSIGNAL) != count) return 0;
  }
  return mode != CLOSE;
}

static void serve(int set, int listener, enum mode mode, double until) {
  struct epoll_event events[256];
  while (until == 0 || now() < until) {
    int count = epoll_wait(set, events, 256, until == 0 ? -1 : 10);
    for (int i = 0; i < count; i++) {
      int sock = events[i].data.fd, good = 1;
      if (sock == listener) {
        accept_all(set, listener, mode);
        continue;
      }
      if (events[i].events & EPOLLOUT) good = write_some(sock);
      if (good && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) good = read_some(sock, mode);
      if (!good) close(sock);
    }
  }
}

static int connect_to(const char *host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (sock < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1) fail(host);
  if (connect(sock, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return sock;
}

// What the peer has acknowledged.
static unsigned long long delivered(int sock) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) fail("TCP_INFO");
  return info.tcpi_bytes_acked;
}

static void transfer(int set, enum mode mode, char **arguments) {
  int streams[1024], count = atoi(arguments[2]);
  double seconds = atof(arguments[3]), start, end;
  if (count < 1 || count > 1024) fail("streams");
  for (int i = 0; i < count; i++) {
    streams[i] = connect_to(arguments[0], atoi(arguments[1]));
    fcntl(streams[i], F_SETFL, O_NONBLOCK);
    watch(set, streams[i], mode == PUSH ? EPOLLOUT : EPOLLIN);
  }
  start = now();
  serve(set, -1, mode, start + seconds);
  end = now();
  for (int i = 0; i < count && mode == PUSH; i++) transferred += delivered(streams[i]);
  printf("%llu %.6f\n", transferred, end - start);
}

int main(int count, char **arguments) {
  int mode = 0, set = epoll_create1(EPOLL_CLOEXEC);
  while (mode < UNKNOWN && (count < 2 || strcmp(arguments[1], names[mode]) != 0)) mode++;
  if (set >= 0 && mode <= SOURCE && count == 3) {
    int listener = listen_on(atoi(arguments[2]));
    watch(set, listener, EPOLLIN);
    serve(set, listener, mode, 0);
  } else if (set >= 0 && mode < UNKNOWN && count == 6) {
    transfer(set, mode, arguments + 2);
    return 0;
  }
  fprintf(stderr, "usage: fs-echo echo|close|sink|source PORT\n"
                  "       fs-echo push|pull ADDRESS PORT STREAMS SECONDS\n");
  return 2;
}
