// What programs share that compare answers of socket calls with the kernel's.
//
// Such a program runs twice: first without libfsocket.so (the reference), in a child that records
// every answer, then as it was started (the subject), and each answer is compared with the recorded
// one. Both runs use the same address, so that the same interfaces and the same peer are in the game.
// Without a preloaded library the program compares the kernel with itself, which proves that the
// comparison is fair.
//
// The remote ends are played by a child in the network namespace of the peer that obeys orders.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
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
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program, *address = "127.0.0.1", *netns;
static bool verbose;

static void die(const char *what) {
  fprintf(stderr, "%s: %s: %s\n", program, what, strerror(errno));
  exit(2);
}

// MARK: Answers

/// One answer: what a call returned, errno if that was negative, and what it wrote.
struct answer {
  char what[120];
  long result;
  int error;
  unsigned length;
  unsigned char bytes[32];
};

/// A difference that is meant to be: what begins with `prefix`, and ends with `suffix` if there is
/// one, may differ.
struct difference {
  const char *prefix, *suffix;
  const char *reason;
};

static int recordTo = -1;
static struct answer *recorded;
static size_t recordedCount, nextRecorded, differences, excused;
static const struct difference *meant;
static size_t meantCount;

static const char *describe(const struct answer *answer, char *text, size_t size) {
  int at = snprintf(text, size, "%ld", answer->result);
  if (answer->result < 0) at += snprintf(text + at, size - (size_t)at, " %s", strerrorname_np(answer->error));
  if (answer->length > 0) at += snprintf(text + at, size - (size_t)at, " [");
  for (unsigned i = 0; i < answer->length && i < sizeof answer->bytes; i++)
    at += snprintf(text + at, size - (size_t)at, "%02x", answer->bytes[i]);
  if (answer->length > 0) snprintf(text + at, size - (size_t)at, "]");
  return text;
}

static bool endsWith(const char *text, const char *suffix) {
  size_t length = strlen(text), end = suffix ? strlen(suffix) : 0;
  return end <= length && !strncmp(text + length - end, suffix ? suffix : "", end);
}

static bool isMeant(const char *what) {
  for (size_t i = 0; i < meantCount; i++)
    if (!strncmp(what, meant[i].prefix, strlen(meant[i].prefix)) && endsWith(what, meant[i].suffix))
      return true;
  return false;
}

static void compare(const struct answer *subject) {
  if (nextRecorded == recordedCount) {
    fprintf(stderr, "%s: %s: the reference never came here\n", program, subject->what);
    exit(1);
  }
  const struct answer *reference = &recorded[nextRecorded++];
  if (strcmp(reference->what, subject->what)) {
    fprintf(stderr, "%s: %s, but the reference did %s\n", program, subject->what, reference->what);
    exit(1);
  }
  if (!memcmp(reference, subject, sizeof *subject)) return;
  if (isMeant(subject->what)) {
    excused++;
    return;
  }
  char a[160], b[160];
  printf("%s: kernel %s, subject %s\n", subject->what, describe(reference, a, sizeof a),
         describe(subject, b, sizeof b));
  differences++;
}

/// Notes an answer, or compares it with the reference's.
static void observe(long result, int error, const void *bytes, unsigned length, const char *format,
                    ...) {
  struct answer answer = {.result = result, .error = result < 0 ? error : 0, .length = length};
  if (length > sizeof answer.bytes) length = sizeof answer.bytes;
  if (length > 0) memcpy(answer.bytes, bytes, length);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(answer.what, sizeof answer.what, format, arguments);
  va_end(arguments);
  if (verbose && recordTo < 0) {
    char text[160];
    printf("  %s: %s\n", answer.what, describe(&answer, text, sizeof text));
  }
  if (recordTo < 0) {
    compare(&answer);
  } else if (write(recordTo, &answer, sizeof answer) != sizeof answer) {
    die("record");
  }
}

// MARK: The remote end

/// What the remote end is told, and what it answers.
struct order {
  // l isten, b acklog, c onnect, a ccept, s end, u rgent, d rain, g et, o ut of band, k: at the mark?,
  // e nd of stream?, f inish, r eset, x close, p attern, v erify a pattern, n ow: what would recv say?
  char what;
  int argument;
  // Of the pattern: bytes that went before.
  unsigned offset;
  char address[64];
};

static int orders = -1;

static socklen_t makeAddress(struct sockaddr_storage *storage, const char *text, int port) {
  memset(storage, 0, sizeof *storage);
  struct sockaddr_in *v4 = (struct sockaddr_in *)storage;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;
  if (strchr(text, ':')) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) die(text);
    return sizeof *v6;
  }
  v4->sin_family = AF_INET;
  v4->sin_port = htons((uint16_t)port);
  if (inet_pton(AF_INET, text, &v4->sin_addr) != 1) die(text);
  return sizeof *v4;
}

static int portOf(int fd) {
  struct sockaddr_storage local;
  socklen_t length = sizeof local;
  if (getsockname(fd, (struct sockaddr *)&local, &length) < 0) die("getsockname");
  return ntohs(local.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&local)->sin6_port
                                           : ((struct sockaddr_in *)&local)->sin_port);
}

static int makeSocket(const char *text) {
  int fd = socket(strchr(text, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  return fd;
}

static int makeListener(const char *text) {
  struct sockaddr_storage local;
  socklen_t length = makeAddress(&local, text, 0);
  int fd = makeSocket(text);
  if (bind(fd, (struct sockaddr *)&local, length) < 0) die("bind");
  if (listen(fd, 16) < 0) die("listen");
  return fd;
}

static void patience(int fd, int seconds) {
  struct timeval time = {.tv_sec = seconds};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

/// How the stream ends: 0 by FIN, or errno; bytes before it are skipped.
static int endOfStream(int fd) {
  static char bytes[65536];
  ssize_t count;
  patience(fd, 3);
  while ((count = recv(fd, bytes, sizeof bytes, 0)) > 0) {}
  return count == 0 ? 0 : errno;
}

/// Sends bytes that count up from one call to the next, so that the receiver knows their order.
static int sendCounted(int fd, int length) {
  static unsigned char counted[1 << 20];
  static unsigned next;
  if (length > (int)sizeof counted) length = sizeof counted;
  for (int i = 0; i < length; i++) counted[i] = (unsigned char)(next + (unsigned)i);
  ssize_t count = send(fd, counted, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count > 0) next += (unsigned)count;
  return (int)count;
}

/// The byte of the pattern after `offset` others: a loss, a repetition or a change of order shows.
static unsigned char patternAt(unsigned offset) {
  return (unsigned char)((offset * 2654435761u) >> 24);
}

/// Sends `count` bytes of the pattern; how many were sent, or -errno.
static int sendPattern(int fd, int count, unsigned offset) {
  static char bytes[1 << 20];
  for (int i = 0; i < count; i++) bytes[i] = (char)patternAt(offset + (unsigned)i);
  int done = 0;
  while (done < count) {
    ssize_t sent = send(fd, bytes + done, (size_t)(count - done), MSG_NOSIGNAL);
    if (sent <= 0) return done ? done : -errno;
    done += (int)sent;
  }
  return done;
}

/// Receives `count` bytes, waiting for them, and compares them with the pattern: how many came, or
/// -errno, or -10000 less the place of the first that is wrong.
static int verifyPattern(int fd, int count, unsigned offset) {
  static unsigned char bytes[1 << 20];
  int done = 0;
  while (done < count) {
    ssize_t received = recv(fd, bytes, (size_t)(count - done), 0);
    if (received == 0) break;
    if (received < 0) return done ? done : -errno;
    for (ssize_t i = 0; i < received; i++)
      if (bytes[i] != patternAt(offset + (unsigned)(done + i))) return -10000 - (int)(done + i);
    done += (int)received;
  }
  return done;
}

/// What recv would say now: the number of bytes, 0 at the end, or -errno.
static int peekNow(int fd) {
  static char bytes[1 << 20];
  ssize_t count = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 ? -errno : (int)count;
}

static int obey(int *listener, int *fd, const struct order *order) {
  static char bytes[1 << 20];
  switch (order->what) {
    case 'l':
      if (*listener < 0) *listener = makeListener(order->address);
      return portOf(*listener);
    case 'b': return listen(*listener, order->argument);
    case 'c': {
      struct sockaddr_storage remote;
      socklen_t length = makeAddress(&remote, order->address, order->argument);
      *fd = makeSocket(order->address);
      int on = 1;
      setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      // A window that does not grow, so that how much fits is no matter of luck.
      int buffer = 100000;
      setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
      return connect(*fd, (struct sockaddr *)&remote, length) < 0 ? -errno : 0;
    }
    case 'a':
      *fd = accept(*listener, NULL, NULL);
      return *fd < 0 ? -errno : 0;
    case 's': return sendCounted(*fd, order->argument);
    case 'u': bytes[0] = (char)order->argument;
      return (int)send(*fd, bytes, 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT);
    case 'g': {
      ssize_t count = recv(*fd, bytes, (size_t)order->argument, MSG_DONTWAIT);
      return count < 0 ? -errno : (int)count;
    }
    case 'o': return recv(*fd, bytes, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : bytes[0];
    case 'k': {
      int isAt = -1;
      return ioctl(*fd, SIOCATMARK, &isAt) < 0 ? -errno : isAt;
    }
    case 'd': {
      int total = 0;
      ssize_t count;
      while ((count = recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) total += (int)count;
      return total;
    }
    case 'e': return endOfStream(*fd);
    case 'p': return sendPattern(*fd, order->argument, order->offset);
    case 'v':
      patience(*fd, 3);
      return verifyPattern(*fd, order->argument, order->offset);
    case 'n': return peekNow(*fd);
    case 'f': return shutdown(*fd, SHUT_WR);
    case 'r': {
      struct linger abort = {.l_onoff = 1, .l_linger = 0};
      setsockopt(*fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    }
    // fall through
    default: close(*fd); *fd = -1; return 0;
  }
}

static int playRemote(int pipe) {
  int listener = -1, fd = -1, result;
  struct order order;
  while (read(pipe, &order, sizeof order) == sizeof order) {
    result = obey(&listener, &fd, &order);
    if (write(pipe, &result, sizeof result) != sizeof result) break;
  }
  return 0;
}

static int ordered(char what, int argument, const char *text) {
  struct order order = {.what = what, .argument = argument};
  int result = 0;
  if (text) snprintf(order.address, sizeof order.address, "%s", text);
  if (write(orders, &order, sizeof order) != sizeof order ||
      read(orders, &result, sizeof result) != sizeof result)
    die("the remote end");
  return result;
}

static void settle(void) {
  struct timespec pause = {.tv_nsec = 5000000};
  nanosleep(&pause, NULL);
}

/// Has the remote end do something, and gives that time to arrive.
static int order(char what, int argument) {
  int result = ordered(what, argument, NULL);
  settle();
  return result;
}

/// What this process becomes is without the library. The variable is empty, not absent: the library keeps itself in
/// a program that runs itself anew without it.
static void dropLibrary(void) { setenv("LD_PRELOAD", "", 1); }

static int startSelf(const char *option, bool preloaded, const char *namespace, char **words) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child > 0) {
    close(pair[1]);
    return pair[0];
  }
  if (namespace) {
    char path[256];
    snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(path);
  }
  if (!preloaded) dropLibrary();
  char self[4096] = {0}, number[16];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  snprintf(number, sizeof number, "%d", pair[1]);
  fcntl(pair[1], F_SETFD, 0);
  char *arguments[16] = {self, (char *)option, number};
  for (int i = 0; words && words[i] && i < 12; i++) arguments[3 + i] = words[i];
  execv(self, arguments);
  die("exec");
  return -1;
}

// MARK: Connections

static int listener = -1;
static char remoteAddress[INET6_ADDRSTRLEN];

/// A connection that the remote end opens to `listener`.
static int acceptOne(void) {
  int result = ordered('c', portOf(listener), address);
  if (result < 0) {
    errno = -result;
    die("the remote end's connect");
  }
  struct sockaddr_storage remote;
  socklen_t length = sizeof remote;
  int fd = accept4(listener, (struct sockaddr *)&remote, &length, SOCK_CLOEXEC);
  if (fd < 0) die("accept");
  inet_ntop(remote.ss_family,
            remote.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&remote)->sin6_addr
                                         : (void *)&((struct sockaddr_in *)&remote)->sin_addr,
            remoteAddress, sizeof remoteAddress);
  return fd;
}

/// Connects a socket to the remote end, whose address an accepted connection has told before.
__attribute__((unused)) static void connectOne(int fd) {
  struct sockaddr_storage remote;
  socklen_t length = makeAddress(&remote, remoteAddress, ordered('l', 0, remoteAddress));
  if (connect(fd, (struct sockaddr *)&remote, length) < 0) die("connect");
  if (ordered('a', 0, NULL) < 0) die("the remote end's accept");
}

// MARK: Both runs

/// A reference with the library would agree with the subject in everything.
static void expectKernel(void) {
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps) die("/proc/self/maps");
  while (fgets(line, sizeof line, maps)) {
    if (!strstr(line, "libfsocket")) continue;
    fprintf(stderr, "%s: the reference is preloaded\n", program);
    exit(2);
  }
  fclose(maps);
}

static void readRecording(char **words) {
  int pipe = startSelf("--record", false, NULL, words);
  size_t capacity = 1 << 16, have = 0;
  recorded = malloc(capacity * sizeof *recorded);
  ssize_t count;
  while ((count = read(pipe, (char *)recorded + have, capacity * sizeof *recorded - have)) > 0) {
    have += (size_t)count;
    if (have == capacity * sizeof *recorded) {
      capacity *= 2;
      recorded = realloc(recorded, capacity * sizeof *recorded);
    }
  }
  recordedCount = have / sizeof *recorded;
  close(pipe);
  int status;
  if (wait(&status) < 0 || status != 0) {
    fprintf(stderr, "%s: the reference failed\n", program);
    exit(2);
  }
}

/// Runs `script` on the kernel and on the subject; what main answers.
///
///     PROGRAM [--address ADDRESS [--netns NAME]] [--verbose]
static int runModel(int count, char **words, void (*script)(void), const struct difference *list,
                    size_t listCount) {
  program = strrchr(words[0], '/') ? strrchr(words[0], '/') + 1 : words[0];
  meant = list;
  meantCount = listCount;
  for (int i = 1; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : "";
    if (!strcmp(words[i], "--remote")) return playRemote(atoi(value));
    if (!strcmp(words[i], "--verbose")) { verbose = true; continue; }
    if (!strcmp(words[i], "--record")) recordTo = atoi(value);
    if (!strcmp(words[i], "--address")) address = value;
    if (!strcmp(words[i], "--netns")) netns = value;
    i++;
  }
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (recordTo < 0) {
    readRecording(words + 1);
  } else {
    expectKernel();
  }
  orders = startSelf("--remote", false, netns, NULL);
  script();
  close(orders);
  if (recordTo >= 0) return 0;
  if (nextRecorded != recordedCount) {
    fprintf(stderr, "%s: the reference went on: %s\n", program, recorded[nextRecorded].what);
    return 1;
  }
  printf("%s: %zu answers, %zu differ, %zu as they are meant to\n", program, recordedCount,
         differences, excused);
  return differences > 0;
}
