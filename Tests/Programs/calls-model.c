// Linux as the model of the calls that move bytes: random sequences of read, write and their kin on
// kernel connections and on accelerated ones, and the same results, errors, bytes and signals expected.
//
//   calls-model [--address ADDRESS [--netns NAME]] [--seed N] [--steps N] [--verbose]
//
// How it compares: model.h. What is where in a stream is known by its bytes, which count up.
#include "model.h"

#include <linux/sockios.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

enum { LARGE = 4096, FILE_SIZE = 10000 };

static unsigned seed = 1, steps = 600;
static int fd = -1, file = -1, pipes[2];
static unsigned char bytes[LARGE * 4];
/// Bytes that the remote end has sent and this side has not read, and whether it has said its last.
static int there;
static bool isFinished, isShut, isDeaf;
static volatile sig_atomic_t signals;

static int choose(int limit) { return (int)(random() % limit); }

static void countSignal(int number) {
  (void)number;
  signals++;
}

/// Observes a result, the first bytes that it brought, and the signals that came.
static void result(long value, const char *what) {
  int error = errno;
  unsigned length = value > 0 && value <= (long)sizeof bytes ? (unsigned)value : 0;
  observe(value, error, bytes, length > 32 ? 32 : length, "%s", what);
  observe(signals, 0, NULL, 0, "signals after %s", what);
  signals = 0;
  errno = 0;
}

static void sent(long value, const char *what) {
  int error = errno;
  observe(value, error, NULL, 0, "%s", what);
  observe(signals, 0, NULL, 0, "signals after %s", what);
  signals = 0;
  errno = 0;
  // The remote end reads, so that there is always room.
  if (value > 0) order('d', 0);
}

/// Waits until everything that was sent has arrived.
static void arrive(void) {
  int count = 0;
  for (int i = 0; i < 400; i++) {
    if (ioctl(fd, FIONREAD, &count) == 0 && count >= there) return;
    settle();
  }
}

static void begin(void) {
  fd = acceptOne();
  there = 0;
  isFinished = isShut = isDeaf = false;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // No call blocks for longer.
  struct timeval time = {.tv_usec = 20000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

static void end(void) {
  sent(close(fd), "close");
  ordered('x', 0, NULL);
}

// MARK: In

/// Divides `length` bytes among vectors, some of them empty.
static int divide(struct iovec *vectors, int most, int length) {
  int count = 1 + choose(most), at = 0;
  for (int i = 0; i < count; i++) {
    int part = i == count - 1 ? length - at : choose(3) == 0 ? 0 : choose(length - at + 1);
    vectors[i] = (struct iovec){bytes + at, (size_t)part};
    at += part;
  }
  return count;
}

static int receiveFlags(void) {
  static const int flags[] = {0, 0, 0, MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_TRUNC,
                              MSG_PEEK | MSG_DONTWAIT, MSG_WAITALL | MSG_DONTWAIT, MSG_OOB,
                              MSG_ERRQUEUE, MSG_CMSG_CLOEXEC, MSG_PEEK | MSG_TRUNC};
  return flags[choose(13)];
}

static void took(long count, int flags) {
  if (count > 0 && !(flags & (MSG_PEEK | MSG_OOB))) there -= (int)count;
}

static void receive(void) {
  int length = choose(6) == 0 ? 0 : 1 + choose(choose(2) ? 100 : LARGE), flags = receiveFlags();
  struct iovec vectors[8];
  struct sockaddr_storage from;
  socklen_t fromLength = sizeof from;
  int count = divide(vectors, 8, length), kind = choose(9);
  if (kind >= 6) flags = 0;
  memset(bytes, 0, sizeof bytes);
  char what[80];
  snprintf(what, sizeof what, "receive %d: %d bytes in %d, flags 0x%x", kind, length, count, flags);
  long value;
  errno = 0;
  switch (kind) {
    case 0: case 1: value = recv(fd, bytes, (size_t)length, flags); break;
    case 2:
      value = recvfrom(fd, bytes, (size_t)length, flags, (struct sockaddr *)&from, &fromLength);
      observe(fromLength, 0, NULL, 0, "length of the sender's address");
      break;
    case 3: case 4: {
      struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
      value = recvmsg(fd, &message, flags);
      if (value >= 0) observe(message.msg_flags, 0, NULL, 0, "flags of %s", what);
      break;
    }
    case 5: {
      struct iovec second = {bytes + LARGE, 50};
      struct mmsghdr messages[2] = {
          {.msg_hdr = {.msg_iov = vectors, .msg_iovlen = (size_t)count}},
          {.msg_hdr = {.msg_iov = &second, .msg_iovlen = 1}}};
      struct timespec time = {.tv_nsec = 1000000};
      flags &= MSG_DONTWAIT;
      if (choose(2)) flags |= MSG_WAITFORONE;
      value = recvmmsg(fd, messages, 2, flags, choose(2) ? &time : NULL);
      for (long i = 0; i < value; i++) {
        observe(messages[i].msg_len, 0, NULL, 0, "length of message %ld", i);
        took(messages[i].msg_len, 0);
      }
      if (value > 0) errno = 0;
      result(value > 0 ? 0 : value, "recvmmsg");
      observe(value, 0, NULL, 0, "messages");
      return;
    }
    case 6: value = read(fd, bytes, (size_t)length); break;
    case 7: value = readv(fd, vectors, count); break;
    default: value = preadv2(fd, vectors, count, -1, choose(2) ? RWF_NOWAIT : 0); break;
  }
  took(value, flags);
  if (flags & MSG_TRUNC && value > 0 && !(flags & MSG_PEEK)) memset(bytes, 0, sizeof bytes);
  result(value, what);
}

// MARK: Out

static void transmit(void) {
  static const int all[] = {0, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_EOR, MSG_CONFIRM};
  int length = choose(6) == 0 ? 0 : 1 + choose(LARGE), kind = choose(8), flags = all[choose(6)];
  struct iovec vectors[8];
  int count = divide(vectors, 8, length);
  char what[80];
  snprintf(what, sizeof what, "transmit %d: %d bytes in %d, flags 0x%x", kind, length, count, flags);
  long value;
  errno = 0;
  switch (kind) {
    case 0: value = send(fd, bytes, (size_t)length, flags); break;
    case 1: {
      struct sockaddr_in to = {.sin_family = AF_INET};
      value = sendto(fd, bytes, (size_t)length, flags, (struct sockaddr *)&to, sizeof to);
      break;
    }
    case 2: {
      struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
      value = sendmsg(fd, &message, flags);
      break;
    }
    case 3: {
      struct mmsghdr messages[2] = {
          {.msg_hdr = {.msg_iov = vectors, .msg_iovlen = (size_t)count}},
          {.msg_hdr = {.msg_iov = vectors, .msg_iovlen = 1}}};
      value = sendmmsg(fd, messages, 2, flags);
      if (value > 0) observe(messages[0].msg_len, 0, NULL, 0, "bytes of the first message");
      break;
    }
    case 4: value = write(fd, bytes, (size_t)length); break;
    case 5: value = writev(fd, vectors, count); break;
    case 6: value = pwritev2(fd, vectors, count, -1, choose(2) ? RWF_NOWAIT : 0); break;
    default: value = dprintf(fd, "%d and %s\n", length, what); break;
  }
  sent(value, what);
}

static void sendFile(void) {
  off_t offset = choose(FILE_SIZE + 1000);
  size_t count = choose(5) == 0 ? 0 : (size_t)choose(FILE_SIZE);
  int kind = choose(8);
  char what[80];
  snprintf(what, sizeof what, "sendfile %d: %zu bytes from %ld", kind, count, (long)offset);
  if (kind == 0) offset = -1;
  if (kind >= 5) lseek(file, offset, SEEK_SET);
  errno = 0;
  long value = kind == 1   ? sendfile(fd, pipes[0], NULL, count)
               : kind == 2 ? sendfile(file, fd, NULL, count)
               : kind < 5  ? sendfile(fd, file, &offset, count)
                           : sendfile(fd, file, NULL, count);
  sent(value, what);
  observe(offset, 0, NULL, 0, "the offset after %s", what);
  observe(lseek(file, 0, SEEK_CUR), 0, NULL, 0, "the position after %s", what);
}

// MARK: What is refused

static long refuse(int what) {
  struct iovec vectors[1] = {{bytes, 10}}, negative[1] = {{bytes, (size_t)-1}};
  static struct iovec many[1030];
  struct sockaddr_storage name = {0};
  struct stat status;
  struct msghdr message = {.msg_iov = many, .msg_iovlen = 1030};
  socklen_t length = sizeof name;
  loff_t zero = 0;
  switch (what) {
    case 0: return pread(fd, bytes, 10, 0);
    case 1: return pwrite(fd, bytes, 10, 0);
    case 2: return preadv(fd, vectors, 1, 0);
    case 3: return preadv2(fd, vectors, 1, 0, 0);
    case 4: return pwritev2(fd, vectors, 1, 100, 0);
    case 5: return preadv2(fd, vectors, 1, -1, 0x40000000);
    case 6: return lseek(fd, 0, SEEK_CUR);
    case 7: return tee(fd, pipes[1], 10, 0);
    case 8: return vmsplice(fd, vectors, 1, 0);
    case 9: return ftruncate(fd, 0);
    case 10: return fsync(fd);
    case 11: return isatty(fd);
    case 12: return fstat(fd, &status) < 0 ? -1 : S_ISSOCK(status.st_mode);
    case 13: return mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0;
    case 14: return readv(fd, vectors, -1);
    case 15: return readv(fd, many, 1025);
    case 16: return writev(fd, many, 1025);
    case 17: return sendmsg(fd, &message, MSG_NOSIGNAL);
    case 18: return recvmsg(fd, &message, MSG_DONTWAIT);
    case 19: return accept(fd, NULL, NULL);
    case 20: return listen(fd, 1);
    case 21: return bind(fd, (struct sockaddr *)&name, sizeof name);
    case 22:
      getsockname(fd, (struct sockaddr *)&name, &length);
      return connect(fd, (struct sockaddr *)&name, length);
    case 23: return getpeername(fd, NULL, &length);
    case 24: length = (socklen_t)-1; return getsockname(fd, (struct sockaddr *)&name, &length);
    case 25: return copy_file_range(fd, NULL, file, &zero, 10, 0);
    case 26: return ioctl(fd, TIOCGWINSZ, bytes);
    case 27: return readv(fd, negative, 1);
    case 28: return writev(fd, negative, 1);
    case 29: return splice(fd, NULL, file, &zero, 10, 0);
    case 30: return shutdown(fd, 3);
    case 31: return fcntl(fd, F_SETPIPE_SZ, 4096);
    case 32: return fcntl(fd, F_DUPFD, -1);
    case 33: return send(fd, bytes, 10, MSG_OOB | MSG_NOSIGNAL) < 0 ? -1 : 0;
    case 34: return fcntl(fd, F_GETFL);
    default: return fcntl(fd, F_GETFD);
  }
}

static void refused(void) {
  int what = choose(36);
  // What is closed at both ends may be bound and connected anew in Linux.
  if (what >= 19 && what <= 22 && (isShut || isFinished)) return;
  char name[40];
  snprintf(name, sizeof name, "refuse %d", what);
  errno = 0;
  sent(refuse(what), name);
}

// MARK: The rest

static void remote(void) {
  if (isFinished || isDeaf) return;
  int what = choose(12), length = 1 + choose(LARGE);
  if (what == 0) {
    order('f', 0);
    isFinished = true;
  } else if (there < 100000) {
    there += order('s', length);
    arrive();
  }
}

static void state(void) {
  int what = choose(9), value = 0;
  errno = 0;
  switch (what) {
    case 0: sent(ioctl(fd, FIONREAD, &value) < 0 ? -1 : value, "FIONREAD"); break;
    case 1: sent(sockatmark(fd), "sockatmark"); break;
    case 2: case 3: {
      value = choose(2);
      sent(fcntl(fd, F_SETFL, value ? O_NONBLOCK : 0), "F_SETFL");
      break;
    }
    case 4:
      value = choose(2);
      sent(ioctl(fd, FIONBIO, &value), "FIONBIO");
      break;
    case 5: {
      int how = choose(6);
      if (how < 3) {
        sent(shutdown(fd, how), "shutdown");
        isShut = isShut || how != SHUT_RD;
        isDeaf = isDeaf || how != SHUT_WR;
        // The remote end's state changes by it.
        settle();
      }
      break;
    }
    case 6: {
      int other = dup(fd);
      sent(close(fd), "close one of two");
      fd = other;
      break;
    }
    case 7: {
      struct pollfd descriptor = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
      poll(&descriptor, 1, 0);
      sent(descriptor.revents, "poll");
      break;
    }
    default: {
      socklen_t length = sizeof value;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length);
      sent(value, "SO_ERROR");
    }
  }
}

/// A blocking read with nothing there, and a signal: SA_RESTART does not help one with a time-out.
static void interrupted(void) {
  if (there > 0 || isFinished || isDeaf) return;
  struct sigaction action = {.sa_handler = countSignal, .sa_flags = choose(2) ? SA_RESTART : 0};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval soon = {.it_value = {.tv_usec = 5000}};
  struct timeval time = {.tv_usec = 200000}, usual = {.tv_usec = 20000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  fcntl(fd, F_SETFL, 0);
  setitimer(ITIMER_REAL, &soon, NULL);
  errno = 0;
  result(recv(fd, bytes, 10, 0), "an interrupted recv");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &usual, sizeof usual);
}

/// A stream of stdio over the connection.
static void stream(void) {
  if (isShut || isDeaf || isFinished) return;
  fcntl(fd, F_SETFL, 0);
  int other = dup(fd);
  FILE *stream = fdopen(other, choose(2) ? "r+" : "w+");
  observe(stream != NULL, 0, NULL, 0, "fdopen");
  if (!stream) return;
  observe(fileno(stream) == other, 0, NULL, 0, "fileno");
  observe(fprintf(stream, "GET %d\n", choose(1000)), 0, NULL, 0, "fprintf");
  observe(fflush(stream), 0, NULL, 0, "fflush");
  if (there > 0) {
    size_t wanted = (size_t)(there < 100 ? there : 100), count = fread(bytes, 1, wanted, stream);
    observe((long)count, 0, NULL, 0, "fread");
    // The stream takes as much as its buffer holds; what that is, is its own affair.
    int left = 0;
    ioctl(fd, FIONREAD, &left);
    while (left > 0 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) ioctl(fd, FIONREAD, &left);
    there = 0;
  }
  observe(fclose(stream), 0, NULL, 0, "fclose");
  observe(fcntl(other, F_GETFD), errno, NULL, 0, "the stream's descriptor");
  order('d', 0);
}

static void doStep(void) {
  switch (choose(20)) {
    case 0: case 1: case 2: case 3: remote(); break;
    case 4: case 5: case 6: case 7: case 8: receive(); break;
    case 9: case 10: case 11: transmit(); break;
    case 12: case 13: sendFile(); break;
    case 14: case 15: refused(); break;
    case 16: case 17: state(); break;
    case 18: interrupted(); break;
    default: stream(); break;
  }
}

static void script(void) {
  char path[] = "/tmp/calls-model.XXXXXX";
  file = mkstemp(path);
  if (file < 0 || pipe(pipes) < 0) die("file");
  unlink(path);
  for (int i = 0; i < FILE_SIZE; i++) bytes[i % LARGE] = (unsigned char)i;
  if (ftruncate(file, FILE_SIZE) < 0) die("file");
  signal(SIGPIPE, countSignal);
  srandom(seed);
  listener = makeListener(address);
  for (unsigned step = 0; step < steps; step++) {
    if (step % 40 == 0) {
      if (fd >= 0) end();
      begin();
    }
    doStep();
  }
  end();
  close(listener);
}

int main(int count, char **words) {
  for (int i = 1; i + 1 < count; i++) {
    if (!strcmp(words[i], "--seed")) seed = (unsigned)atoi(words[i + 1]);
    if (!strcmp(words[i], "--steps")) steps = (unsigned)atoi(words[i + 1]);
  }
  return runModel(count, words, script, NULL, 0);
}
