// Two families of connections, and what programs share that do the same to both: one family (the
// reference) goes over loopback and is always the kernel's; the other (the subject) goes to an address
// that the daemon manages.
//
// The remote ends are played by two child processes that obey one-line orders: send, drain, finish,
// reset, close.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 5, PIPES = 2, SETS = 3, EVENTS = 64, FAMILIES = 2 };
enum { REFERENCE, SUBJECT };
/// Connections that the remote end has opened and nobody accepted yet.
enum { MOST_PENDING = 3, REMOTE_ENDS = CONNECTIONS + MOST_PENDING };

// What can be watched: connections, duplicates of their descriptors, and the kernel's own: read ends
// of pipes, one end of a UNIX socket pair, an eventfd, a timerfd; and the listener.
enum {
  COPIES = CONNECTIONS,
  READ_ENDS = 2 * CONNECTIONS,
  UNIX_END = READ_ENDS + PIPES,
  EVENTFD,
  TIMERFD,
  LISTENER,
  ITEMS
};

// One family: what it watches (-1 for none), and with which epoll sets.
struct family {
  const char *address;
  int orders;  // to the child that plays the remote ends
  int fds[ITEMS];
  int writeEnds[PIPES];
  int unixPeer;
  int sets[SETS];
  int setCopies[SETS];  // a duplicate of the set's descriptor, or -1
};

static struct family families[FAMILIES];
static bool verbose;
static int pending;
// Whether each connection was shut for reading here: what becomes of data that arrives afterwards is
// each stack's own choice.
static bool isDeaf[CONNECTIONS];
static unsigned long step;
static char history[16][160];

static void die(const char *what) {
  fprintf(stderr, "epoll-model: %s: %s\n", what, strerror(errno));
  exit(2);
}

static void note(const char *format, ...) {
  char *line = history[step % 16];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof history[0], format, arguments);
  va_end(arguments);
  if (verbose) printf("%6lu %s\n", step, line);
}

static void differ(const char *what, long reference, int referenceError, long subject,
                   int subjectError) {
  printf("step %lu: %s: the kernel answers %ld (%s), the subject %ld (%s)\n", step, what, reference,
         reference < 0 ? strerror(referenceError) : "-", subject,
         subject < 0 ? strerror(subjectError) : "-");
  unsigned long first = step < 15 ? 0 : step - 15;
  for (unsigned long i = first; i <= step; i++) printf("  %6lu %s\n", i, history[i % 16]);
  exit(1);
}

// MARK: The remote ends

struct order {
  char what;  // c onnect, s end, d rain, f inish, r eset, x close; m ove up those behind
  uint8_t connection;
  uint16_t argument;  // port, or length
  char address[64];
};

static int connectTo(const char *address, uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &remote.sin_addr);
  if (connect(fd, (struct sockaddr *)&remote, sizeof remote) < 0) die("the remote end's connect");
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static void obey(int *fd, const struct order *order) {
  static char bytes[65536];
  if (order->what == 'm') {
    for (int i = 0; i + 1 < MOST_PENDING; i++) fd[i] = fd[i + 1];
    fd[MOST_PENDING - 1] = -1;
    return;
  }
  switch (order->what) {
    case 'c': *fd = connectTo(order->address, order->argument); break;
    case 's': (void)!send(*fd, bytes, order->argument, MSG_NOSIGNAL | MSG_DONTWAIT); break;
    case 'd': while (recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {} break;
    case 'f': shutdown(*fd, SHUT_WR); break;
    case 'r': {
      struct linger abort = {.l_onoff = 1, .l_linger = 0};
      setsockopt(*fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    }
    // fall through
    case 'x': close(*fd); *fd = -1; break;
  }
}

static int playRemote(int orders) {
  int fds[REMOTE_ENDS];
  for (int i = 0; i < REMOTE_ENDS; i++) fds[i] = -1;
  struct order order;
  while (read(orders, &order, sizeof order) == sizeof order) {
    obey(&fds[order.connection], &order);
    if (write(orders, "k", 1) != 1) break;
  }
  return 0;
}

static int startRemote(const char *self, const char *netns) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child > 0) {
    close(pair[1]);
    return pair[0];
  }
  if (netns) {
    char path[256];
    snprintf(path, sizeof path, "/var/run/netns/%s", netns);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(path);
  }
  // Empty, not absent: the library keeps itself in a program that runs itself anew without it.
  setenv("LD_PRELOAD", "", 1);
  char number[16];
  snprintf(number, sizeof number, "%d", pair[1]);
  fcntl(pair[1], F_SETFD, 0);
  execl(self, self, "--remote", number, (char *)NULL);
  die("exec");
  return -1;
}

static void sendOrder(struct family *family, const struct order *order) {
  char answer;
  if (write(family->orders, order, sizeof *order) != sizeof *order ||
      read(family->orders, &answer, 1) != 1)
    die("the remote end");
}

/// Orders both families' remote ends to do the same, and gives it time to arrive.
static void orderBoth(char what, int connection, int argument) {
  struct order order = {.what = what, .connection = (uint8_t)connection,
                        .argument = (uint16_t)argument};
  for (int f = 0; f < FAMILIES; f++) sendOrder(&families[f], &order);
}

/// The kernel's side of a set is looked at every 30 microseconds only, while ours is ready.
static void untilNextLook(void) {
  struct timespec pause = {.tv_nsec = 100000};
  nanosleep(&pause, NULL);
}

static void settle(void) {
  struct timespec pause = {.tv_nsec = 4000000};
  nanosleep(&pause, NULL);
}

/// What tells whether a connection has come to rest: bytes to read, bytes on their way, state.
static void describeRest(int fd, int rest[3]) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  rest[0] = rest[1] = -1;
  ioctl(fd, FIONREAD, &rest[0]);
  ioctl(fd, SIOCOUTQ, &rest[1]);
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  rest[2] = info.tcpi_state;
}

/// Waits until both families' connection has come to rest, where one of them needs longer: on a
/// machine that does other things as well.
static void settleConnection(int connection) {
  int rest[FAMILIES][3];
  for (int round = 0; round < 50; round++) {
    settle();
    for (int f = 0; f < FAMILIES; f++) describeRest(families[f].fds[connection], rest[f]);
    if (!memcmp(rest[0], rest[1], sizeof rest[0])) return;
  }
  if (verbose)
    printf("         not at rest: %d %d %d, %d %d %d\n", rest[0][0], rest[0][1], rest[0][2],
           rest[1][0], rest[1][1], rest[1][2]);
}

/// The kernel makes an edge of the acknowledgement of a FIN, which may be delayed.
static void settleFinish(void) {
  struct timespec pause = {.tv_nsec = 60000000};
  nanosleep(&pause, NULL);
}

// MARK: The local ends

static int listenOn(const char *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in local = {.sin_family = AF_INET};
  inet_pton(AF_INET, address, &local.sin_addr);
  if (bind(fd, (struct sockaddr *)&local, sizeof local) < 0) die("bind");
  if (listen(fd, 64) < 0) die("listen");
  return fd;
}

/// A system call that no preloaded library sees.
static long unseen(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}

/// A new epoll set. Of the reference's a preloaded library knows nothing: they have numbers under which it
/// has never seen one.
static int makeSet(int family, int set) {
  if (family != REFERENCE) return epoll_create1(EPOLL_CLOEXEC);
  int made = (int)unseen(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0);
  int number = (int)unseen(SYS_dup3, made, 530 + set, O_CLOEXEC);
  unseen(SYS_close, made, 0, 0);
  return number;
}

static void setUp(struct family *family) {
  for (int i = 0; i < ITEMS; i++) family->fds[i] = -1;
  family->fds[LISTENER] = listenOn(family->address);
  for (int i = 0; i < SETS; i++) {
    family->sets[i] = makeSet((int)(family - families), i);
    family->setCopies[i] = -1;
  }
  int pair[2];
  for (int i = 0; i < PIPES; i++) {
    if (pipe2(pair, O_NONBLOCK | O_CLOEXEC) < 0) die("pipe");
    family->fds[READ_ENDS + i] = pair[0];
    family->writeEnds[i] = pair[1];
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    die("socketpair");
  family->fds[UNIX_END] = pair[0];
  family->unixPeer = pair[1];
  family->fds[EVENTFD] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  family->fds[TIMERFD] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
}

/// Has the remote end `number` connect to the listener.
static void knock(struct family *family, int number) {
  struct sockaddr_in local;
  socklen_t length = sizeof local;
  getsockname(family->fds[LISTENER], (struct sockaddr *)&local, &length);
  struct order order = {.what = 'c', .connection = (uint8_t)number,
                        .argument = ntohs(local.sin_port)};
  snprintf(order.address, sizeof order.address, "%s", family->address);
  sendOrder(family, &order);
}

/// Accepts what the remote end has opened, and gives that at most a second to arrive.
static int acceptSoon(struct family *family) {
  struct pollfd there = {.fd = family->fds[LISTENER], .events = POLLIN};
  poll(&there, 1, 1000);
  int fd = accept4(family->fds[LISTENER], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) die("accept");
  // What Nagle's algorithm holds back would depend on when the other side acknowledges.
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static void reconnect(struct family *family, int connection) {
  knock(family, connection);
  family->fds[connection] = acceptSoon(family);
}
