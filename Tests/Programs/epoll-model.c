// Linux as the model of readiness: the same random operations on two families of connections, and
// the same answers expected from epoll, poll, select, recv and send, return value by return value.
//
// One family (the reference) goes over loopback and is always the kernel's. The other (the subject)
// goes to an address given on the command line; with libfsocket.so preloaded and a daemon running it
// is carried by an engine. Without either, the program compares the kernel with itself, which
// proves that the comparison is fair.
//
//   epoll-model [--address ADDRESS [--netns NAME]] [--seed N] [--steps N] [--verbose]
//
// The subject's remote end enters the network namespace NAME first. A seed replays its operations; how
// they and the packets fall together is real time.
#include "families.h"

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

// MARK: Events

/// What one or several calls of epoll_wait have reported of each descriptor in a set.
struct report {
  int count;
  struct {
    uint64_t data;
    uint32_t events;
    int times;
  } entries[2 * EVENTS];
};

static void add(struct report *report, const struct epoll_event *events, long count) {
  for (long i = 0; i < count; i++) {
    int at = 0;
    while (at < report->count && report->entries[at].data != events[i].data.u64) at++;
    if (at == report->count) {
      report->count++;
      report->entries[at].data = events[i].data.u64;
      report->entries[at].events = 0;
      report->entries[at].times = 0;
    }
    report->entries[at].events |= events[i].events;
    report->entries[at].times++;
  }
}

static int compareEntries(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

/// The mark in the data of a descriptor that was added edge-triggered or one-shot.
#define ONCE_DATA (UINT64_C(1) << 61)

/// The mark in the data of a set that is in another, beside its number.
#define NESTED_DATA (UINT64_C(1) << 62)

/// Whether sets may be in others edge-triggered, as in a run of every fourth seed: how many events there
/// are is then not certain.
static bool hasEdges;

/// Sets that are in others EPOLLONESHOT. When the descriptor is closed with which such a set was added, and
/// another is left, the library reports it with nothing in it (`ReadinessMemory.report`).
static bool isNestedOnce[SETS];

/// A set that is in another edge-triggered may be reported once more while something in it is ready, and
/// makes that readable once more. The other way round is an error.
static void forgiveEvents(const struct report *reference, struct report *subject) {
  for (int i = 0; hasEdges && i < subject->count; i++) {
    uint64_t data = subject->entries[i].data;
    if (!(data & NESTED_DATA)) continue;
    int at = 0;
    while (at < reference->count && reference->entries[at].data != data) at++;
    if (at == reference->count) {
      subject->entries[i--] = subject->entries[--subject->count];
    } else {
      // It may be there twice, with other masks.
      subject->entries[i].events &= reference->entries[at].events;
    }
  }
}

static void printReports(const struct report *reports) {
  for (int f = 0; f < FAMILIES; f++)
    for (int i = 0; i < reports[f].count; i++)
      printf("         %s: item %d (0x%lx) 0x%x, %d times\n", f == SUBJECT ? "subject" : "kernel ",
             (int)(uint32_t)reports[f].entries[i].data, (long)reports[f].entries[i].data,
             reports[f].entries[i].events, reports[f].entries[i].times);
}

/// Every descriptor reported by one has to be by the other, with the same events; those of which one
/// event is one report, as often.
static void compareReports(const char *what, struct report *reports) {
  forgiveEvents(&reports[REFERENCE], &reports[SUBJECT]);
  for (int f = 0; f < FAMILIES; f++)
    qsort(reports[f].entries, (size_t)reports[f].count, sizeof reports[f].entries[0],
          compareEntries);
  bool same = reports[0].count == reports[1].count;
  for (int i = 0; same && i < reports[0].count; i++) {
    uint64_t data = reports[0].entries[i].data;
    same = data == reports[1].entries[i].data &&
           reports[0].entries[i].events == reports[1].entries[i].events &&
           (!(data & ONCE_DATA) || reports[0].entries[i].times == reports[1].entries[i].times);
  }
  if (verbose || !same) printReports(reports);
  if (!same) differ(what, reports[0].count, 0, reports[1].count, 0);
}

/// The descriptor of a set, or sometimes its duplicate.
static int setOf(int family, int set, bool copy) {
  int duplicate = families[family].setCopies[set];
  return copy && duplicate >= 0 ? duplicate : families[family].sets[set];
}

static void control(void) {
  static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 17};
  static const char *names[] = {"ADD", "ADD", "MOD", "DEL", "17"};
  int set = choose(SETS), item = choose(ITEMS), operation = choose(40) == 0 ? 4 : choose(4);
  bool copy = choose(2);
  struct epoll_event event = {.events = chooseMask()};
  event.data.u64 = (uint64_t)choose(1 << 28) << 32 | (unsigned)item;
  if (event.events & (EPOLLET | EPOLLONESHOT)) event.data.u64 |= ONCE_DATA;
  long results[FAMILIES];
  int errors[FAMILIES];
  note("epoll_ctl(set %d, %s, item %d, 0x%x)", set, names[operation], item, event.events);
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = epoll_ctl(setOf(f, set, copy), operations[operation], families[f].fds[item], &event);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("epoll_ctl", results[0], errors[0], results[1], errors[1]);
}

static void await(void) {
  int set = choose(SETS), timeout = choose(6) == 0 ? 1 : 0, kind = choose(4);
  bool copy = choose(2);
  struct epoll_event events[FAMILIES][EVENTS];
  struct timespec time = {.tv_nsec = timeout * 1000000};
  long results[FAMILIES];
  int errors[FAMILIES];
  struct report reports[FAMILIES] = {0};
  note("epoll_wait(set %d, timeout %d)", set, timeout);
  untilNextLook();
  for (int f = 0; f < FAMILIES; f++) {
    int fd = setOf(f, set, copy);
    errno = 0;
    results[f] = kind == 0   ? epoll_pwait(fd, events[f], EVENTS, timeout, NULL)
                 : kind == 1 ? epoll_pwait2(fd, events[f], EVENTS, &time, NULL)
                             : epoll_wait(fd, events[f], EVENTS, timeout);
    errors[f] = errno;
    add(&reports[f], events[f], results[f]);
  }
  forgiveEvents(&reports[REFERENCE], &reports[SUBJECT]);
  for (int f = 0; f < FAMILIES; f++)
    if (results[f] > 0) results[f] = reports[f].count;
  if (results[0] != results[1]) {
    printReports(reports);
    differ("epoll_wait", results[0], errors[0], results[1], errors[1]);
  }
  compareReports("epoll_wait", reports);
}

/// With room for few events at a time, as often as it takes: everything that is ready has to come,
/// whichever side it is on.
static void rotate(void) {
  int set = choose(SETS), room = 1 + choose(3);
  struct report reports[FAMILIES] = {0};
  long first[FAMILIES];
  note("epoll_wait(set %d), %d at a time", set, room);
  for (int call = 0; call < 2 * (ITEMS + 2) / room + 4; call++) {
    untilNextLook();
    for (int f = 0; f < FAMILIES; f++) {
      struct epoll_event events[3];
      long count = epoll_wait(families[f].sets[set], events, room, 0);
      if (call == 0) first[f] = count;
      if (hasEdges) first[f] = 0;
      add(&reports[f], events, count);
    }
  }
  // The library's own descriptors in a set may take up some of the room.
  if (first[1] > first[0] || (first[0] > 0) != (first[1] > 0)) differ("epoll_wait with little room", first[0], 0, first[1], 0);
  compareReports("epoll_wait, a few at a time", reports);
}

// MARK: poll and select

static void pollSome(void) {
  struct pollfd descriptors[FAMILIES][ITEMS + SETS];
  long results[FAMILIES];
  int errors[FAMILIES], count = 0;
  short wanted[ITEMS + SETS];
  int chosen[ITEMS + SETS];
  for (int i = 0; i < ITEMS + SETS; i++)
    if (choose(i < ITEMS ? 2 : 6) == 0 && !(hasEdges && i >= ITEMS)) {
      wanted[count] = (short)(chooseMask() & 0x2fff);
      chosen[count++] = i;
    }
  struct timespec time = {.tv_nsec = choose(6) == 0 ? 1000000 : 0};
  bool precise = choose(2);
  note("poll of %d", count);
  for (int f = 0; f < FAMILIES; f++) {
    for (int i = 0; i < count; i++)
      descriptors[f][i] = (struct pollfd){
          .fd = chosen[i] < ITEMS ? families[f].fds[chosen[i]] : families[f].sets[chosen[i] - ITEMS],
          .events = wanted[i]};
    results[f] = precise ? ppoll(descriptors[f], (nfds_t)count, &time, NULL)
                         : poll(descriptors[f], (nfds_t)count, (int)(time.tv_nsec / 1000000));
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
  // Not the duplicates, whose numbers are different.
  static const int selectable[10] = {0, 1, 2, 3, READ_ENDS, READ_ENDS + 1, UNIX_END, EVENTFD, TIMERFD,
                                     LISTENER};
  long results[FAMILIES];
  int errors[FAMILIES];
  uint32_t outcome[FAMILIES] = {0, 0};
  uint32_t wanted = (uint32_t)random();
  note("select 0x%x", wanted);
  for (int f = 0; f < FAMILIES; f++) {
    fd_set sets[3];
    int limit = 0;
    for (int s = 0; s < 3; s++) FD_ZERO(&sets[s]);
    for (int i = 0; i < 10; i++) {
      int fd = families[f].fds[selectable[i]];
      if (fd < 0) continue;
      for (int s = 0; s < 3; s++)
        if (wanted >> (i * 3 + s) & 1) FD_SET(fd, &sets[s]);
      if (fd >= limit) limit = fd + 1;
    }
    struct timeval zero = {0, 0};
    struct timespec none = {0, 0};
    results[f] = wanted & 1 ? select(limit, &sets[0], &sets[1], &sets[2], &zero)
                            : pselect(limit, &sets[0], &sets[1], &sets[2], &none, NULL);
    errors[f] = errno;
    for (int i = 0; i < 10; i++) {
      int fd = families[f].fds[selectable[i]];
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
  if (out) settleConnection(item % CONNECTIONS);
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
  settleConnection(connection);
}

static void describe(void) {
  int connection = choose(CONNECTIONS), copy = CONNECTIONS + connection, kind = choose(5);
  int how = choose(3);
  // accept() would take one of those.
  if (kind >= 3 && pending > 0) return;
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

// MARK: The kernel's own descriptors

/// What one family's kernel descriptors are made to do; the result is compared.
static long stir(struct family *family, int what, int i) {
  static char bytes[4096];
  uint64_t number = 1;
  struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
  switch (what) {
    case 0: return write(family->writeEnds[i], "pipe", 4);
    case 1: return read(family->fds[READ_ENDS + i], bytes, sizeof bytes);
    case 2: return write(family->unixPeer, "unix", 4);
    case 3: return read(family->fds[UNIX_END], bytes, sizeof bytes);
    case 4: return write(family->fds[UNIX_END], "back", 4);
    case 5: return read(family->unixPeer, bytes, sizeof bytes);
    case 6: return write(family->fds[EVENTFD], &number, sizeof number);
    case 7: return read(family->fds[EVENTFD], &number, sizeof number);
    case 8: return timerfd_settime(family->fds[TIMERFD], 0, &soon, NULL);
    default: return read(family->fds[TIMERFD], &number, sizeof number);
  }
}

static const char *const stirrings[10] = {"write to a pipe", "read a pipe", "write to the UNIX peer",
                                          "read the UNIX end", "write to the UNIX end",
                                          "read the UNIX peer", "write to the eventfd",
                                          "read the eventfd", "set the timer", "read the timer"};

static void kernelSide(void) {
  int what = choose(10), i = choose(PIPES);
  long results[FAMILIES];
  int errors[FAMILIES];
  note("%s", stirrings[what]);
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = stir(&families[f], what, i);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ(stirrings[what], results[0], errors[0], results[1], errors[1]);
  if (what == 8) settle();
}

// MARK: The listener

static void acceptOrKnock(void) {
  bool knocks = choose(2);
  if (knocks ? pending == MOST_PENDING : pending == 0 && choose(4)) return;
  note(knocks ? "a connection comes" : "accept, and close it");
  long results[FAMILIES];
  int errors[FAMILIES];
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    if (knocks) {
      knock(&families[f], CONNECTIONS + pending);
    } else {
      int fd = accept4(families[f].fds[LISTENER], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      errors[f] = errno;
      results[f] = fd < 0 ? fd : close(fd);
    }
  }
  if (!knocks && (results[0] != results[1] || (results[0] < 0 && errors[0] != errors[1])))
    differ("accept", results[0], errors[0], results[1], errors[1]);
  if (!knocks && results[0] == 0) {
    pending--;
    // The oldest was accepted; the remote ends' numbers move up.
    orderBoth('x', CONNECTIONS, 0);
    orderBoth('m', CONNECTIONS, 0);
  }
  if (knocks) pending++;
  settle();
}

// MARK: Sets

/// A set gets a second descriptor, or loses one of two, or is closed and made anew.
static void changeSet(void) {
  int set = choose(SETS), kind = choose(6);
  if (kind != 0 && isNestedOnce[set]) return;
  note("set %d: %s", set, kind == 0 ? "close and make" : "dup, or close one of two");
  for (int f = 0; f < FAMILIES; f++) {
    struct family *family = &families[f];
    if (kind == 0) {
      close(family->sets[set]);
      if (family->setCopies[set] >= 0) close(family->setCopies[set]);
      family->sets[set] = makeSet(f, set);
      family->setCopies[set] = -1;
      isNestedOnce[set] = false;
    } else if (family->setCopies[set] < 0) {
      // The number is part of the key under which a set is in another.
      int first = 550 + 100 * f + set;
      family->setCopies[set] = dup2(family->sets[set], first + (family->sets[set] == first ? 10 : 0));
    } else {
      int left = kind & 1 ? family->setCopies[set] : family->sets[set];
      close(kind & 1 ? family->sets[set] : family->setCopies[set]);
      family->sets[set] = left;
      family->setCopies[set] = -1;
    }
  }
}

/// What epoll_ctl and epoll_wait refuse.
static long mistake(struct family *family, int what, int set, int item) {
  struct epoll_event event = {.events = EPOLLIN};
  int file;
  long result;
  switch (what) {
    case 0: return epoll_ctl(family->sets[set], EPOLL_CTL_ADD, family->sets[set], &event);
    case 1: return epoll_ctl(family->fds[item], EPOLL_CTL_ADD, family->fds[UNIX_END], &event);
    case 2: return epoll_ctl(family->sets[set], EPOLL_CTL_ADD, -1, &event);
    case 3: return epoll_ctl(-1, EPOLL_CTL_ADD, family->fds[item], &event);
    case 4: return epoll_ctl(family->sets[set], EPOLL_CTL_ADD, family->fds[item], NULL);
    case 5:
      event.events |= EPOLLEXCLUSIVE | EPOLLRDHUP;
      return epoll_ctl(family->sets[set], EPOLL_CTL_ADD, family->fds[item], &event);
    case 6: return epoll_wait(family->sets[set], &event, 0, 0);
    case 7: return epoll_wait(family->fds[item], &event, 1, 0);
    case 8: return epoll_wait(-1, &event, 1, 0);
    case 9: {
      struct timespec wrong = {.tv_nsec = 1000000000};
      return epoll_pwait2(family->sets[set], &event, 1, &wrong, NULL);
    }
    default:
      file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
      result = epoll_ctl(family->sets[set], EPOLL_CTL_ADD, file, &event);
      close(file);
      return result;
  }
}

static void mistakes(void) {
  int what = choose(11), set = choose(SETS), item = choose(ITEMS);
  long results[FAMILIES];
  int errors[FAMILIES];
  note("mistake %d, set %d, item %d", what, set, item);
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] = mistake(&families[f], what, set, item);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("a mistake", results[0], errors[0], results[1], errors[1]);
}

/// Set 0 in and out of set 2, and set 1 in and out of set 0, so that one set's readiness is an event of
/// others; sometimes one in another that has it already, or in itself.
static void nest(void) {
  static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
  static const char *names[] = {"ADD", "ADD", "MOD", "DEL"};
  int inner = choose(2), outer = inner == 0 ? 2 : 0, what = choose(4), kind = choose(8);
  bool copy = choose(4) == 0;
  if (choose(10) == 0) outer = choose(SETS);
  struct epoll_event event = {.events = choose(4) ? EPOLLIN : chooseMask() & ~(uint32_t)EPOLLET};
  if (kind == 7) event.events |= EPOLLONESHOT;
  // One that is disarmed by an event too many would miss the next.
  if (kind < 4 && hasEdges) event.events = EPOLLIN | EPOLLET;
  event.data.u64 = NESTED_DATA | (unsigned)inner;
  if (event.events & EPOLLONESHOT) {
    event.data.u64 |= ONCE_DATA;
    isNestedOnce[inner] = true;
  }
  long results[FAMILIES];
  int errors[FAMILIES];
  note("epoll_ctl(set %d, %s, set %d, 0x%x)", outer, names[what], inner, event.events);
  for (int f = 0; f < FAMILIES; f++) {
    errno = 0;
    results[f] =
        epoll_ctl(setOf(f, outer, copy), operations[what], families[f].sets[inner], &event);
    errors[f] = errno;
  }
  if (results[0] != results[1] || errors[0] != errors[1])
    differ("nested epoll_ctl", results[0], errors[0], results[1], errors[1]);
}

// MARK: Threads

struct sleeper {
  pthread_t thread;
  int set;
  bool twice;
  long result;
  int error;
  struct epoll_event events[EVENTS];
};

static void *sleepInSet(void *context) {
  struct sleeper *sleeper = context;
  errno = 0;
  sleeper->result = epoll_wait(sleeper->set, sleeper->events, EVENTS, 30);
  sleeper->error = errno;
  return NULL;
}

/// Another thread sleeps in a set, in both families; meanwhile something happens. What it reports,
/// together with what is reported after it, is the same.
static void across(void) {
  int set = choose(SETS), what = choose(4), item = choose(ITEMS), connection = choose(CONNECTIONS);
  int threads = 1 + choose(2);
  struct epoll_event event = {.events = chooseMask() & ~(uint32_t)EPOLLEXCLUSIVE};
  event.data.u64 = (uint64_t)choose(1 << 28) << 32 | (unsigned)item;
  if (event.events & (EPOLLET | EPOLLONESHOT)) event.data.u64 |= ONCE_DATA;
  struct sleeper sleepers[FAMILIES][2];
  struct report reports[FAMILIES] = {0};
  long awake[FAMILIES] = {0, 0};
  if (what == 0 && (families[0].fds[connection] < 0 || isDeaf[connection])) what = 1;
  note("%d threads sleep in set %d, %s", threads, set,
       what == 0   ? "the remote end sends"
       : what == 1 ? "epoll_ctl(MOD or ADD)"
       : what == 2 ? "a pipe is written to"
                   : "the eventfd is written to");
  untilNextLook();
  for (int f = 0; f < FAMILIES; f++) {
    struct epoll_event events[EVENTS];
    add(&reports[f], events, epoll_wait(families[f].sets[set], events, EVENTS, 0));
  }
  compareReports("before threads sleep", reports);
  // They would not sleep.
  if (reports[0].count > 0) return;
  for (int f = 0; f < FAMILIES; f++)
    for (int t = 0; t < threads; t++) {
      sleepers[f][t].set = families[f].sets[set];
      if (pthread_create(&sleepers[f][t].thread, NULL, sleepInSet, &sleepers[f][t]) != 0)
        die("pthread_create");
    }
  settle();
  if (what == 0) orderBoth('s', connection, 100);
  for (int f = 0; f < FAMILIES; f++) {
    int fd = families[f].fds[item];
    if (what == 1 && epoll_ctl(families[f].sets[set], EPOLL_CTL_MOD, fd, &event) < 0)
      epoll_ctl(families[f].sets[set], EPOLL_CTL_ADD, fd, &event);
    if (what >= 2) stir(&families[f], what == 2 ? 0 : 6, 0);
  }
  for (int f = 0; f < FAMILIES; f++)
    for (int t = 0; t < threads; t++) {
      pthread_join(sleepers[f][t].thread, NULL);
      add(&reports[f], sleepers[f][t].events, sleepers[f][t].result);
      if (sleepers[f][t].result > 0 && !hasEdges) awake[f] = 1;
    }
  settleConnection(connection);
  for (int f = 0; f < FAMILIES; f++) {
    struct epoll_event events[EVENTS];
    long count = epoll_wait(families[f].sets[set], events, EVENTS, 0);
    add(&reports[f], events, count);
  }
  if (awake[0] != awake[1]) differ("a thread wakes", awake[0], 0, awake[1], 0);
  compareReports("across threads", reports);
}

// MARK: Signals

static volatile sig_atomic_t signals;

static void countSignal(int number) {
  (void)number;
  signals++;
}

/// A signal is pending that only the call's own mask lets through.
static long waitUnmasked(struct family *family, int kind, int set, int item, int timeout,
                         const sigset_t *mask) {
  struct epoll_event events[EVENTS];
  struct timespec time = {.tv_nsec = timeout * 1000000};
  struct pollfd descriptor = {.fd = family->fds[item], .events = POLLIN};
  fd_set reads;
  FD_ZERO(&reads);
  switch (kind) {
    case 0: return epoll_pwait(family->sets[set], events, EVENTS, timeout, mask);
    case 1: return epoll_pwait2(family->sets[set], events, EVENTS, &time, mask);
    case 2: return ppoll(&descriptor, 1, &time, mask);
    default:
      if (descriptor.fd < 0) return -1;
      FD_SET(descriptor.fd, &reads);
      return pselect(descriptor.fd + 1, &reads, NULL, NULL, &time, mask);
  }
}

static void interrupted(void) {
  static const char *const names[] = {"epoll_pwait", "epoll_pwait2", "ppoll", "pselect"};
  int kind = choose(4), set = choose(SETS), item = choose(ITEMS), timeout = choose(3) ? 5 : 0;
  bool isPending = choose(4) != 0;
  sigset_t mask, blocked;
  sigemptyset(&mask);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  long results[FAMILIES], counts[FAMILIES];
  int errors[FAMILIES];
  note("%s(timeout %d) with a signal, set %d, item %d", names[kind], timeout, set, item);
  untilNextLook();
  for (int f = 0; f < FAMILIES; f++) {
    signals = 0;
    if (isPending) raise(SIGUSR1);
    errno = 0;
    results[f] = waitUnmasked(&families[f], kind, set, item, timeout, &mask);
    errors[f] = errno;
    counts[f] = signals;
    struct timespec none = {0, 0};
    sigtimedwait(&blocked, NULL, &none);
  }
  if (hasEdges && kind < 2) return;
  if (results[0] != results[1] || (results[0] < 0 && errors[0] != errors[1]))
    differ(names[kind], results[0], errors[0], results[1], errors[1]);
  if (counts[0] != counts[1]) differ("signals taken", counts[0], 0, counts[1], 0);
}

static void catchSignals(void) {
  struct sigaction action = {.sa_handler = countSignal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static void doStep(void) {
  switch (choose(44)) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: control(); break;
    case 7: case 8: case 9: case 10: case 11: case 12: case 13: await(); break;
    case 14: case 15: pollSome(); break;
    case 16: selectSome(); break;
    case 17: case 18: case 19: case 20: case 21: transfer(); break;
    case 22: case 23: case 24: case 25: case 26: remote(); break;
    case 27: case 28: describe(); break;
    case 29: case 30: case 31: case 32: kernelSide(); break;
    case 33: case 34: rotate(); break;
    case 35: case 36: acceptOrKnock(); break;
    case 37: changeSet(); break;
    case 38: mistakes(); break;
    case 39: case 40: across(); break;
    case 41: interrupted(); break;
    default: nest(); break;
  }
}

int main(int count, char **words) {
  const char *netns = NULL;
  unsigned seed = 1;
  unsigned long steps = 2000;
    families[REFERENCE].address = families[SUBJECT].address = "127.0.0.1";
  for (int i = 1; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : "";
    if (!strcmp(words[i], "--remote")) return playRemote(atoi(value));
    if (!strcmp(words[i], "--verbose")) { verbose = true; continue; }
    if (!strcmp(words[i], "--address")) families[SUBJECT].address = value;
    if (!strcmp(words[i], "--netns")) netns = value;
    if (!strcmp(words[i], "--seed")) seed = (unsigned)atoi(value);
    if (!strcmp(words[i], "--steps")) steps = strtoul(value, NULL, 10);
    i++;
  }
  signal(SIGPIPE, SIG_IGN);
  catchSignals();
  setvbuf(stdout, NULL, _IOLBF, 0);
  char self[4096] = {0};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  srandom(seed);
  hasEdges = seed % 4 == 1;
  for (int f = 0; f < FAMILIES; f++) {
    families[f].orders = startRemote(self, f == SUBJECT ? netns : NULL);
    setUp(&families[f]);
  }
  for (int i = 0; i < CONNECTIONS; i++)
    for (int f = 0; f < FAMILIES; f++) reconnect(&families[f], i);
  for (step = 0; step < steps; step++) doStep();
  printf("epoll-model: seed %u: %lu steps, no difference\n", seed, steps);
  return 0;
}
