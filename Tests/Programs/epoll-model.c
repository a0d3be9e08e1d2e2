// Linux as the model of readiness: the same random operations on two families of connections, and
// the same answers expected from epoll, poll, select, recv and send.
//
// One family (the reference) goes over loopback and is always the kernel's. The other (the subject)
// goes to an address given on the command line; with libfsocket.so preloaded and a daemon running it
// is carried by an engine. Without either, the program compares the kernel with itself, which
// proves that the comparison is fair.
//
//   epoll-model [--address ADDRESS [--netns NAME]] [--seed N] [--steps N] [--verbose]
//
// The remote ends are played by two child processes that obey one-line orders: send, drain, finish,
// reset, close. The subject's child enters the network namespace NAME first.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 5, PIPES = 2, SETS = 3, EVENTS = 64, FAMILIES = 2 };
enum { REFERENCE, SUBJECT };
enum { ITEMS = 2 * CONNECTIONS + PIPES };

// One family: its connections (each with a possible duplicate descriptor), pipes and epoll sets.
struct family {
  const char *address;
  int orders;  // to the child that plays the remote ends
  int listener;
  int fds[ITEMS];  // connections, duplicates of them, read ends of pipes; -1 for none
  int writeEnds[PIPES];
  int sets[SETS];
};

static struct family families[FAMILIES];
static bool verbose;
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
  char what;  // c onnect, s end, d rain, f inish, r eset, x close
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
  int fds[CONNECTIONS];
  for (int i = 0; i < CONNECTIONS; i++) fds[i] = -1;
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
  unsetenv("LD_PRELOAD");
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

/// The kernel makes an edge of the acknowledgement of a FIN, which may be delayed.
static void settleFinish(void) {
  struct timespec pause = {.tv_nsec = 60000000};
  nanosleep(&pause, NULL);
}

// MARK: The local ends

static void setUp(struct family *family) {
  family->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in local = {.sin_family = AF_INET};
  inet_pton(AF_INET, family->address, &local.sin_addr);
  if (bind(family->listener, (struct sockaddr *)&local, sizeof local) < 0) die("bind");
  if (listen(family->listener, 64) < 0) die("listen");
  for (int i = 0; i < ITEMS; i++) family->fds[i] = -1;
  for (int i = 0; i < SETS; i++) family->sets[i] = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < PIPES; i++) {
    int pair[2];
    if (pipe2(pair, O_NONBLOCK | O_CLOEXEC) < 0) die("pipe");
    family->fds[2 * CONNECTIONS + i] = pair[0];
    family->writeEnds[i] = pair[1];
  }
}

static void reconnect(struct family *family, int connection) {
  struct sockaddr_in local;
  socklen_t length = sizeof local;
  getsockname(family->listener, (struct sockaddr *)&local, &length);
  struct order order = {.what = 'c', .connection = (uint8_t)connection,
                        .argument = ntohs(local.sin_port)};
  snprintf(order.address, sizeof order.address, "%s", family->address);
  sendOrder(family, &order);
  int fd = accept4(family->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) die("accept");
  // What Nagle's algorithm holds back would depend on when the other side acknowledges.
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  family->fds[connection] = fd;
}

static int choose(int limit) { return (int)(random() % limit); }

static uint32_t chooseMask(void) {
  static const uint32_t bits[] = {EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI, EPOLLRDNORM};
  uint32_t mask = 0;
  for (int i = choose(4); i > 0; i--) mask |= bits[choose(6)];
  switch (choose(8)) {
    case 0: case 1: case 2: mask |= EPOLLET; break;
    case 3: mask |= EPOLLONESHOT; break;
    case 4: mask |= EPOLLET | EPOLLONESHOT; break;
    case 5: mask |= choose(3) == 0 ? (uint32_t)EPOLLEXCLUSIVE : 0; break;
    default: break;
  }
  return mask;
}

static void control(void) {
  static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 17};
  static const char *names[] = {"ADD", "ADD", "MOD", "DEL", "17"};
  int set = choose(SETS), item = choose(ITEMS), operation = choose(40) == 0 ? 4 : choose(4);
  struct epoll_event event = {.events = chooseMask(), .data = {.u64 = (uint64_t)choose(1 << 28) << 32 | (unsigned)item}};
  long results[FAMILIES];
  int errors[FAMILIES];
  note("epoll_ctl(set %d, %s, item %d, 0x%x)", set, names[operation], item, event.events);
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = epoll_ctl(families[f].sets[set], operations[operation], families[f].fds[item],
                           &event);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("epoll_ctl", results[0], errors[0], results[1], errors[1]);
}

static int compareEvents(const void *a, const void *b) {
  uint64_t left = ((const struct epoll_event *)a)->data.u64;
  uint64_t right = ((const struct epoll_event *)b)->data.u64;
  return left < right ? -1 : left > right;
}

/// The event of set 0 in set 2.
#define NESTED_DATA (UINT64_C(1) << 62)

/// A set with descriptors of ours may be readable as a member of another when there is nothing in it
/// any more; then the kernel alone reports nothing. The other way round is an error.
static long forgiveNested(const struct epoll_event *reference, long referenceCount,
                          struct epoll_event *subject, long subjectCount) {
  long last = subjectCount - 1;
  if (last < 0 || subject[last].data.u64 != NESTED_DATA) return subjectCount;
  bool isThere = referenceCount > 0 && reference[referenceCount - 1].data.u64 == NESTED_DATA;
  return isThere ? subjectCount : subjectCount - 1;
}

static void await(void) {
  int set = choose(SETS), timeout = choose(6) == 0 ? 1 : 0;
  struct epoll_event events[FAMILIES][EVENTS];
  long results[FAMILIES];
  int errors[FAMILIES];
  note("epoll_wait(set %d, timeout %d)", set, timeout);
  untilNextLook();
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = epoll_wait(families[f].sets[set], events[f], EVENTS, timeout);
    errors[f] = errno;
    if (results[f] > 0) qsort(events[f], (size_t)results[f], sizeof events[f][0], compareEvents);
  }
  for (int f = 0; verbose && f < FAMILIES; f++)
    for (int i = 0; i < results[f]; i++)
      printf("         %s: item %d 0x%x\n", f == SUBJECT ? "subject" : "kernel ",
             (int)(uint32_t)events[f][i].data.u64, events[f][i].events);
  results[1] = forgiveNested(events[0], results[0], events[1], results[1]);
  if (results[0] != results[1]) differ("epoll_wait", results[0], errors[0], results[1], errors[1]);
  for (int i = 0; i < results[0]; i++) {
    if (events[0][i].data.u64 != events[1][i].data.u64)
      differ("epoll_wait's data", (long)events[0][i].data.u64, 0, (long)events[1][i].data.u64, 0);
    if (events[0][i].events != events[1][i].events) {
      note("... item %d", (int)(uint32_t)events[0][i].data.u64);
      differ("epoll_wait's events", events[0][i].events, 0, events[1][i].events, 0);
    }
  }
}

static void pollSome(void) {
  struct pollfd descriptors[FAMILIES][ITEMS + SETS];
  long results[FAMILIES];
  int errors[FAMILIES], count = 0;
  short wanted[ITEMS + SETS];
  int chosen[ITEMS + SETS];
  for (int i = 0; i < ITEMS; i++)
    if (choose(2)) {
      wanted[count] = (short)(chooseMask() & 0x2fff);
      chosen[count++] = i;
    }
  note("poll of %d", count);
  for (int f = 0; f < FAMILIES; f++) {
    for (int i = 0; i < count; i++)
      descriptors[f][i] = (struct pollfd){.fd = families[f].fds[chosen[i]], .events = wanted[i]};
    results[f] = poll(descriptors[f], (nfds_t)count, choose(6) == 0 ? 1 : 0);
    errors[f] = errno;
  }
  if (results[0] != results[1]) {
    for (int i = 0; i < count; i++)
      printf("item %d wanted 0x%x: 0x%x, 0x%x\n", chosen[i], wanted[i],
             descriptors[0][i].revents, descriptors[1][i].revents);
    differ("poll", results[0], errors[0], results[1], errors[1]);
  }
  for (int i = 0; i < count; i++)
    if (descriptors[0][i].revents != descriptors[1][i].revents) {
      note("... item %d", chosen[i]);
      differ("poll's revents", descriptors[0][i].revents, 0, descriptors[1][i].revents, 0);
    }
}

static void selectSome(void) {
  long results[FAMILIES];
  int errors[FAMILIES];
  uint32_t outcome[FAMILIES] = {0, 0};
  uint32_t wanted = (uint32_t)random();
  note("select 0x%x", wanted);
  for (int f = 0; f < FAMILIES; f++) {
    fd_set sets[3];
    int limit = 0;
    for (int s = 0; s < 3; s++) FD_ZERO(&sets[s]);
    for (int i = 0; i < 8; i++) {
      int fd = families[f].fds[i < 6 ? i : 2 * CONNECTIONS + i - 6];
      if (fd < 0) continue;
      for (int s = 0; s < 3; s++)
        if (wanted >> (i * 3 + s) & 1) FD_SET(fd, &sets[s]);
      if (fd >= limit) limit = fd + 1;
    }
    struct timeval zero = {0, 0};
    results[f] = select(limit, &sets[0], &sets[1], &sets[2], &zero);
    errors[f] = errno;
    for (int i = 0; i < 8; i++) {
      int fd = families[f].fds[i < 6 ? i : 2 * CONNECTIONS + i - 6];
      if (fd < 0) continue;
      for (int s = 0; s < 3; s++)
        if (FD_ISSET(fd, &sets[s])) outcome[f] |= 1u << (i * 3 + s);
    }
  }
  if (verbose && outcome[0] != outcome[1])
    printf("         kernel 0x%x, subject 0x%x\n", outcome[0], outcome[1]);
  if (results[0] != results[1]) differ("select", results[0], errors[0], results[1], errors[1]);
  if (outcome[0] != outcome[1]) differ("select's sets", outcome[0], 0, outcome[1], 0);
}

static void transfer(void) {
  static char bytes[65536];
  int item = choose(2 * CONNECTIONS), length = 1 + choose(3000);
  int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (choose(4) == 0 ? MSG_PEEK : 0);
  bool out = choose(4) == 0, all = choose(3) == 0;
  long results[FAMILIES];
  int errors[FAMILIES];
  if (all) length = sizeof bytes;
  if (out) length = 1 + length % 3000;
  note("%s(item %d, %d)%s", out ? "send" : "recv", item, length, flags & MSG_PEEK ? " peek" : "");
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = out ? send(families[f].fds[item], bytes, (size_t)length, flags & ~MSG_PEEK)
                     : recv(families[f].fds[item], bytes, (size_t)length, flags);
    errors[f] = errno;
  }
  if (results[0] != results[1] || (results[0] < 0 && errors[0] != errors[1]))
    differ(out ? "send" : "recv", results[0], errors[0], results[1], errors[1]);
  if (out) settle();
}

static void remote(void) {
  static const char kinds[] = "sssssssssddddfrx";
  int connection = choose(CONNECTIONS);
  if (families[0].fds[connection] < 0) return;
  char what = kinds[choose(sizeof kinds - 1)];
  int length = 1 + choose(4000);
  if (what == 's' && isDeaf[connection]) return;
  note("remote end of %d: %c %d", connection, what, length);
  orderBoth(what, connection, length);
  settle();
}

static void describe(void) {
  int connection = choose(CONNECTIONS), copy = CONNECTIONS + connection, kind = choose(5);
  int how = choose(3);
  note("%s %d, %d",
       kind == 0  ? "shutdown"
       : kind < 3 ? "dup or close the duplicate"
                  : "close or reconnect",
       connection, how);
  long results[FAMILIES] = {0, 0};
  int errors[FAMILIES];
  for (int f = 0; f < FAMILIES; f++) {
    int *fds = families[f].fds;
    errno = 0;
    if (kind == 0) {
      results[f] = shutdown(fds[connection], how);
    } else if (kind < 3) {
      if (fds[copy] >= 0) {
        results[f] = close(fds[copy]);
        fds[copy] = -1;
      } else if (fds[connection] >= 0) {
        // The number is part of the key of an epoll entry, so it must not be left to chance.
        fds[copy] = dup2(fds[connection], 500 + 100 * f + copy);
        results[f] = fds[copy] < 0;
      }
    }
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("shutdown, dup or close", results[0], errors[0], results[1], errors[1]);
  if (kind == 0 && results[0] == 0 && how != SHUT_WR) isDeaf[connection] = true;
  if (kind >= 3) {
    if (families[0].fds[connection] < 0) isDeaf[connection] = false;
    for (int f = 0; f < FAMILIES; f++) {
      int *fds = families[f].fds;
      if (fds[connection] < 0) {
        reconnect(&families[f], connection);
      } else if (kind == 4) {
        // In this order, so that accept will not answer the duplicate's number.
        if (fds[copy] >= 0) close(fds[copy]);
        close(fds[connection]);
        fds[connection] = fds[copy] = -1;
      }
    }
  }
  if (kind == 0) {
    settleFinish();
  } else {
    settle();
  }
}

static void pipes(void) {
  int i = choose(PIPES);
  bool in = choose(2);
  char bytes[4096];
  note("pipe %d: %s", i, in ? "write" : "read");
  for (int f = 0; f < FAMILIES; f++) {
    if (in) {
      (void)!write(families[f].writeEnds[i], "pipe", 4);
    } else {
      (void)!read(families[f].fds[2 * CONNECTIONS + i], bytes, sizeof bytes);
    }
  }
}

/// Set 0 in and out of set 2, so that one set's readiness is an event of the other.
static void nest(void) {
  struct epoll_event event = {.events = EPOLLIN | (choose(2) ? (uint32_t)EPOLLET : 0),
                              .data = {.u64 = NESTED_DATA}};
  int operation = choose(2) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
  long results[FAMILIES];
  int errors[FAMILIES];
  note("epoll_ctl(set 2, %s, set 0)", operation == EPOLL_CTL_ADD ? "ADD" : "DEL");
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    event.events &= ~(uint32_t)EPOLLET;
    results[f] = epoll_ctl(families[f].sets[2], operation, families[f].sets[0], &event);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("nested epoll_ctl", results[0], errors[0], results[1], errors[1]);
}

static void doStep(bool nested) {
  switch (choose(32)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: control(); break;
    case 7: case 8: case 9: case 10: case 11: case 12: case 13: await(); break;
    case 14: case 15: pollSome(); break;
    case 16: selectSome(); break;
    case 17: case 18: case 19: case 20: case 21: transfer(); break;
    case 22: case 23: case 24: case 25: case 26: remote(); break;
    case 27: case 28: describe(); break;
    case 29: case 30: pipes(); break;
    default: if (nested) nest(); break;
  }
}

int main(int count, char **words) {
  const char *netns = NULL;
  unsigned seed = 1;
  unsigned long steps = 2000;
  bool nested = false;
  families[REFERENCE].address = families[SUBJECT].address = "127.0.0.1";
  for (int i = 1; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : "";
    if (!strcmp(words[i], "--remote")) return playRemote(atoi(value));
    if (!strcmp(words[i], "--verbose")) { verbose = true; continue; }
    if (!strcmp(words[i], "--nested")) { nested = true; continue; }
    if (!strcmp(words[i], "--address")) families[SUBJECT].address = value;
    if (!strcmp(words[i], "--netns")) netns = value;
    if (!strcmp(words[i], "--seed")) seed = (unsigned)atoi(value);
    if (!strcmp(words[i], "--steps")) steps = strtoul(value, NULL, 10);
    i++;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  char self[4096] = {0};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  srandom(seed);
  for (int f = 0; f < FAMILIES; f++) {
    families[f].orders = startRemote(self, f == SUBJECT ? netns : NULL);
    setUp(&families[f]);
  }
  for (int i = 0; i < CONNECTIONS; i++)
    for (int f = 0; f < FAMILIES; f++) reconnect(&families[f], i);
  for (step = 0; step < steps; step++) doStep(nested);
  printf("epoll-model: seed %u: %lu steps, no difference\n", seed, steps);
  return 0;
}
