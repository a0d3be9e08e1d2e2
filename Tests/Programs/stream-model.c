// Linux as the model of what options and flags do to a stream: low-water marks, lingering, urgent
// data, room to send, what TCP_INFO tells. The same script on kernel sockets and on the subject's.
#include "model.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <sys/sendfile.h>

static const char *scene;
static char bytes[1 << 20];

static void number(long value, const char *what) { observe(value, 0, NULL, 0, "%s: %s", scene, what); }

static void call(long result, const char *what) { observe(result, errno, NULL, 0, "%s: %s", scene, what); }

static void set(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof value) < 0) die("setsockopt");
}

/// Reads without waiting, and tells what came.
static void take(int fd, size_t size, int flags, const char *what) {
  memset(bytes, 0, 64);
  ssize_t result = recv(fd, bytes, size, flags | MSG_DONTWAIT);
  observe(result, errno, bytes, result > 0 ? (unsigned)result : 0, "%s: %s", scene, what);
}

static int control(int fd, unsigned long request) {
  int value = -1;
  return ioctl(fd, request, &value) < 0 ? -errno : value;
}

/// What poll, select and epoll say, and what is there to be read.
static void look(int fd, const char *when) {
  char what[64];
  struct pollfd descriptor = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
  poll(&descriptor, 1, 0);
  snprintf(what, sizeof what, "poll %s", when);
  number(descriptor.revents, what);
  fd_set reads, exceptions;
  FD_ZERO(&reads);
  FD_ZERO(&exceptions);
  FD_SET(fd, &reads);
  FD_SET(fd, &exceptions);
  struct timeval zero = {0, 0};
  select(fd + 1, &reads, NULL, &exceptions, &zero);
  snprintf(what, sizeof what, "select %s", when);
  number(FD_ISSET(fd, &reads) | FD_ISSET(fd, &exceptions) << 1, what);
  struct epoll_event event = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP};
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  int count = epoll_wait(epoll, &event, 1, 0);
  snprintf(what, sizeof what, "epoll %s", when);
  number(count > 0 ? (long)event.events : 0, what);
  close(epoll);
  snprintf(what, sizeof what, "FIONREAD %s", when);
  number(control(fd, FIONREAD), what);
  snprintf(what, sizeof what, "SIOCATMARK %s", when);
  number(control(fd, SIOCATMARK), what);
}

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/// An order to the remote end while the program waits in a call.
struct later {
  pthread_t thread;
  char what;
  int argument, delay;
};

static void *giveLater(void *context) {
  struct later *later = context;
  poll(NULL, 0, later->delay);
  ordered(later->what, later->argument, NULL);
  return NULL;
}

static void begin(struct later *later, char what, int argument, int delay) {
  *later = (struct later){.what = what, .argument = argument, .delay = delay};
  if (pthread_create(&later->thread, NULL, giveLater, later) != 0) die("pthread_create");
}

static void finish(int fd) {
  close(fd);
  ordered('x', 0, NULL);
}

// MARK: SO_RCVLOWAT

static void lowWater(void) {
  scene = "low water";
  int fd = acceptOne(), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  set(fd, SOL_SOCKET, SO_RCVLOWAT, 10);
  order('s', 4);
  look(fd, "below");
  number(epoll_wait(epoll, &event, 1, 0), "no edge below");
  order('s', 5);
  number(epoll_wait(epoll, &event, 1, 0), "still none");
  order('s', 1);
  look(fd, "at");
  number(epoll_wait(epoll, &event, 1, 0), "an edge");
  take(fd, 3, 0, "less than the mark");
  look(fd, "below again");
  set(fd, SOL_SOCKET, SO_RCVLOWAT, 2);
  look(fd, "with a lower mark");
  number(epoll_wait(epoll, &event, 1, 0), "the lower mark's edge");
  take(fd, 100, 0, "the rest");
  take(fd, 100, 0, "nothing");
  close(epoll);

  set(fd, SOL_SOCKET, SO_RCVLOWAT, 10);
  struct timeval time = {.tv_usec = 300000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  order('s', 4);
  long start = milliseconds();
  call(recv(fd, bytes, 100, 0), "what is there when the time is over");
  number(milliseconds() - start >= 250, "it waited");
  order('s', 12);
  start = milliseconds();
  call(recv(fd, bytes, 100, 0), "enough");
  number(milliseconds() - start >= 250, "it did not wait");
  time.tv_usec = 0, time.tv_sec = 3;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  struct later later;
  order('s', 4);
  begin(&later, 's', 16, 50);
  call(recv(fd, bytes, 12, 0), "the first and the second portion");
  pthread_join(later.thread, NULL);
  take(fd, 100, 0, "what was too much");
  begin(&later, 's', 30, 50);
  call(recv(fd, bytes, 20, MSG_WAITALL), "MSG_WAITALL");
  pthread_join(later.thread, NULL);
  take(fd, 100, 0, "what was too much again");
  order('s', 3);
  order('f', 0);
  look(fd, "at the end");
  take(fd, 100, 0, "the last bytes");
  take(fd, 100, 0, "the end");
  finish(fd);
}

static void timeouts(void) {
  scene = "time-outs";
  int fd = acceptOne();
  struct timeval time = {.tv_sec = -1};
  call(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), "a negative time");
  long start = milliseconds();
  call(recv(fd, bytes, 1, 0), "at once");
  number(milliseconds() - start > 200, "without waiting");
  time = (struct timeval){.tv_usec = 200000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  start = milliseconds();
  call(recv(fd, bytes, 1, 0), "a while");
  number(milliseconds() - start >= 180, "with waiting");
  int on = 1;
  call(setsockopt(fd, IPPROTO_TCP, TCP_INQ, &on, sizeof on), "TCP_INQ");
  order('s', 9);
  for (int round = 0; round < 3; round++) {
    char space[64] = {0};
    struct iovec vector = {bytes, 4};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space,
                             .msg_controllen = round == 1 ? 4 : sizeof space};
    call(recvmsg(fd, &message, MSG_DONTWAIT), "recvmsg");
    number(message.msg_flags, "its flags");
    number((long)message.msg_controllen, "its control messages");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header) number(*(int *)CMSG_DATA(header), "bytes left");
  }
  finish(fd);
}

// MARK: SO_LINGER

/// Closes, and tells how long that took: at once, a while, or the whole time.
static void closeTimed(int fd, const char *what) {
  long start = milliseconds();
  call(close(fd), what);
  long time = milliseconds() - start;
  number(time < 150 ? 0 : time < 900 ? 1 : 2, "how long it took");
}

static int lingering(int seconds) {
  int fd = acceptOne();
  struct linger linger = {.l_onoff = 1, .l_linger = seconds};
  if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) < 0) die("SO_LINGER");
  return fd;
}

/// Sends what the remote end does not read, until nothing more fits.
static long fill(int fd) {
  long total = 0;
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  for (int quiet = 0; quiet < 10; quiet++) {
    ssize_t count;
    while ((count = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
      total += count;
      quiet = 0;
    }
    settle();
  }
  return total;
}

/// Has the remote end read everything.
static void drainRemote(int fd) {
  for (int quiet = 0; quiet < 4 || (quiet < 200 && control(fd, SIOCOUTQ) > 0); quiet++)
    if (order('d', 0) > 0) quiet = 0;
}

static void lingers(void) {
  scene = "linger 0";
  int fd = lingering(0);
  call(send(fd, bytes, 100, 0), "send");
  closeTimed(fd, "close");
  number(ordered('e', 0, NULL), "the remote end sees");
  ordered('x', 0, NULL);

  scene = "linger 1, nothing on its way";
  fd = lingering(1);
  closeTimed(fd, "close");
  number(ordered('e', 0, NULL), "the remote end sees");
  ordered('x', 0, NULL);

  scene = "linger 1, unread bytes";
  fd = lingering(1);
  order('s', 10);
  closeTimed(fd, "close");
  number(ordered('e', 0, NULL), "the remote end sees");
  ordered('x', 0, NULL);

  for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
    scene = nonblocking ? "linger 1, O_NONBLOCK" : "linger 1";
    fd = lingering(1);
    if (nonblocking) fcntl(fd, F_SETFL, O_NONBLOCK);
    number(fill(fd) > 0, "filled");
    closeTimed(fd, "close");
    number(ordered('e', 0, NULL), "the remote end sees");
    ordered('x', 0, NULL);
  }

  scene = "linger 5, read after a while";
  fd = lingering(5);
  number(fill(fd) > 0, "filled");
  struct later later;
  begin(&later, 'e', 0, 300);
  closeTimed(fd, "close");
  pthread_join(later.thread, NULL);
  ordered('x', 0, NULL);

  scene = "no linger";
  fd = acceptOne();
  number(fill(fd) > 0, "filled");
  closeTimed(fd, "close");
  number(ordered('e', 0, NULL), "the remote end sees");
  ordered('x', 0, NULL);
}

// MARK: Urgent data

static volatile sig_atomic_t urgentSignals;

static void countSignal(int number) {
  (void)number;
  urgentSignals++;
}

static void urgentReceived(bool isInline) {
  scene = isInline ? "urgent, inline" : "urgent";
  int fd = acceptOne(), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLPRI | EPOLLET};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  if (isInline) set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
  take(fd, 1, MSG_OOB, "none has come");
  look(fd, "with none");
  order('s', 5);
  order('u', 'A');
  number(epoll_wait(epoll, &event, 1, 0), "an edge");
  order('s', 3);
  look(fd, "before the mark");
  take(fd, 100, MSG_PEEK, "peek to the mark");
  take(fd, 3, 0, "a part");
  look(fd, "nearer");
  take(fd, 100, 0, "up to the mark");
  look(fd, "at the mark");
  take(fd, 1, MSG_OOB | MSG_PEEK, "the urgent byte, peeked at");
  take(fd, 0, MSG_OOB, "the urgent byte, no room");
  take(fd, 1, MSG_OOB, "the urgent byte");
  take(fd, 1, MSG_OOB, "again");
  look(fd, "after it");
  take(fd, 100, MSG_PEEK, "peek behind the mark");
  take(fd, 100, 0, "behind the mark");
  look(fd, "behind the mark");

  order('s', 2);
  order('u', 'B');
  order('s', 2);
  take(fd, 100, 0, "up to the second mark");
  take(fd, 100, 0, "past the second mark");
  take(fd, 1, MSG_OOB, "the second urgent byte, late");
  look(fd, "past the second mark");

  order('u', 'C');
  order('u', 'D');
  look(fd, "with two marks");
  take(fd, 1, MSG_OOB, "the later of two");
  take(fd, 100, 0, "the earlier of two");
  take(fd, 100, 0, "what is left of two");
  look(fd, "after two marks");

  order('u', 'E');
  look(fd, "with the mark first");
  take(fd, 100, 0, "with the mark first");
  take(fd, 100, 0, "with the mark first, again");
  order('u', 'F');
  order('f', 0);
  look(fd, "with a mark and the end");
  take(fd, 1, MSG_OOB, "the last urgent byte");
  take(fd, 100, 0, "the end");
  take(fd, 1, MSG_OOB, "after the end");
  close(epoll);
  finish(fd);
}

static void urgentSent(void) {
  scene = "urgent, sent";
  int fd = acceptOne();
  call(send(fd, "abc", 3, MSG_OOB), "send three");
  settle();
  number(order('k', 0), "the remote end's SIOCATMARK");
  number(order('g', 100), "it reads");
  number(order('k', 0), "its SIOCATMARK then");
  number(order('o', 0), "its urgent byte");
  number(order('g', 100), "it reads on");
  call(send(fd, "xy", 2, 0), "send two");
  call(send(fd, "z", 1, MSG_OOB), "send an urgent one");
  call(send(fd, "w", 1, 0), "send one");
  settle();
  number(order('o', 0), "its urgent byte");
  number(order('g', 100), "it reads");
  number(order('g', 100), "it reads on");
  call(shutdown(fd, SHUT_WR), "shutdown");
  call(send(fd, "v", 1, MSG_OOB | MSG_NOSIGNAL), "after shutdown");
  finish(fd);
}

static void urgentSignal(void) {
  scene = "urgent, signal";
  int fd = acceptOne();
  signal(SIGURG, countSignal);
  order('u', 'A');
  number(urgentSignals, "no signal without an owner");
  take(fd, 1, MSG_OOB, "the urgent byte");
  call(fcntl(fd, F_SETOWN, getpid()), "F_SETOWN");
  number(fcntl(fd, F_GETOWN) == getpid(), "F_GETOWN");
  order('u', 'B');
  // The shim learns of it when the program looks at its connections.
  struct pollfd descriptor = {.fd = fd, .events = POLLIN};
  number(poll(&descriptor, 1, 20), "poll");
  number(urgentSignals, "signals");
  finish(fd);
}

// MARK: Room to send

static void room(void) {
  scene = "room";
  int fd = acceptOne(), epoll = epoll_create1(EPOLL_CLOEXEC);
  set(fd, SOL_SOCKET, SO_SNDBUF, 100000);
  struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  number(epoll_wait(epoll, &event, 1, 0), "writable at first");
  number(fill(fd) > 0, "filled");
  struct pollfd descriptor = {.fd = fd, .events = POLLOUT};
  number(poll(&descriptor, 1, 0), "not writable");
  number(epoll_wait(epoll, &event, 1, 0), "no edge");
  number(control(fd, SIOCOUTQ) > 0, "SIOCOUTQ");
  number(control(fd, SIOCOUTQNSD) > 0, "SIOCOUTQNSD");
  drainRemote(fd);
  number(poll(&descriptor, 1, 100), "writable");
  number(epoll_wait(epoll, &event, 1, 0), "an edge again");
  number(control(fd, SIOCOUTQ), "SIOCOUTQ of nothing");
  number(control(fd, SIOCOUTQNSD), "SIOCOUTQNSD of nothing");
  close(epoll);

  scene = "TCP_NOTSENT_LOWAT";
  set(fd, SOL_SOCKET, SO_SNDBUF, 4000000);
  set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 20000);
  long portions = 0;
  for (int quiet = 0; quiet < 20; quiet++)
    while (portions < 8000 && poll(&descriptor, 1, 2) > 0 &&
           send(fd, bytes, 1000, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
      portions++, quiet = 0;
  int unsent = control(fd, SIOCOUTQNSD);
  number(portions > 0 && portions < 8000, "it ends before the buffer is full");
  number(unsent >= 9000 && unsent <= 22000, "as much is unsent as the mark says");
  number(poll(&descriptor, 1, 0), "not writable");
  drainRemote(fd);
  number(poll(&descriptor, 1, 500), "writable");
  drainRemote(fd);
  finish(fd);
}

/// Writes of little, which take more memory than their bytes.
static void *sendLittle(void *context) {
  int fd = *(int *)context;
  struct timeval time = {.tv_sec = 3};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  long sent = 0;
  while (sent < 600000 && send(fd, bytes, 100, MSG_NOSIGNAL) == 100) sent += 100;
  return (void *)sent;
}

static void littleWrites(void) {
  scene = "little writes";
  int fd = acceptOne(), epoll = epoll_create1(EPOLL_CLOEXEC);
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  for (int quiet = 0; quiet < 10; quiet++) {
    while (send(fd, bytes, 100, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) quiet = 0;
    settle();
  }
  struct epoll_event event = {.events = EPOLLOUT};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  struct pollfd descriptor = {.fd = fd, .events = POLLOUT};
  drainRemote(fd);
  number(epoll_wait(epoll, &event, 1, 1000), "writable for epoll");
  number(poll(&descriptor, 1, 1000), "writable");
  call(send(fd, bytes, 100, MSG_DONTWAIT | MSG_NOSIGNAL), "send");
  close(epoll);

  pthread_t thread;
  pthread_create(&thread, NULL, sendLittle, &fd);
  long total = 0;
  for (int quiet = 0; quiet < 200 && total < 600100; quiet++) {
    long count = order('d', 0);
    total += count;
    if (count > 0) quiet = 0;
  }
  void *sent;
  pthread_join(thread, &sent);
  number((long)sent, "what a blocking thread has sent");
  number(total, "what the peer has");
  finish(fd);
}

// MARK: A small receive buffer

/// The peer goes on as soon as something has been read.
static void smallBuffer(void) {
  scene = "small receive buffer";
  int plain = listener;
  listener = makeListener(address);
  set(listener, SOL_SOCKET, SO_RCVBUF, 8192);
  int fd = acceptOne(), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  // The first window may be larger.
  for (int round = 0; round < 4; round++) {
    number(order('s', 24000), "the peer sends");
    long total = 0, begun = milliseconds();
    while (total < 24000 && epoll_wait(epoll, &event, 1, 3000) > 0) {
      // Everybody sleeps by now.
      settle();
      ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
      if (count <= 0) break;
      total += count;
    }
    number(total, "received");
    number(milliseconds() - begun < 400, "soon");
  }
  close(epoll);
  finish(fd);
  close(listener);
  listener = plain;
}

/// Sends little at a time until nothing more fits, but not for ever: a window may grow a little each time that
/// it is probed.
static void fillWithLittle(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  for (int quiet = 0, rounds = 0; quiet < 10 && rounds < 100; quiet++, rounds++) {
    while (send(fd, bytes, 100, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) quiet = 0;
    settle();
  }
}

/// Other connections have used up what there is for all, and are closed.
static void roomThatOthersHave(void) {
  enum { OTHERS = 24 };
  scene = "room that others have";
  int others[OTHERS], epoll = epoll_create1(EPOLL_CLOEXEC);
  struct linger linger = {.l_onoff = 1};
  for (int i = 0; i < OTHERS; i++) {
    others[i] = acceptOne();
    setsockopt(others[i], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    fillWithLittle(others[i]);
  }
  int fd = acceptOne();
  fillWithLittle(fd);
  struct epoll_event event = {.events = EPOLLOUT};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  for (int i = 0; i < OTHERS; i++) close(others[i]);
  drainRemote(fd);
  number(epoll_wait(epoll, &event, 1, 500), "writable");
  call(send(fd, bytes, 100, MSG_DONTWAIT | MSG_NOSIGNAL), "send");
  close(epoll);
  finish(fd);
}

// MARK: TCP_INFO

static void information(int fd, const char *when) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  memset(&info, 0, sizeof info);
  char what[64];
#define FIELD(name)                                                                                \
  snprintf(what, sizeof what, #name " %s", when);                                                  \
  number((long)info.name, what)
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) die("TCP_INFO");
  FIELD(tcpi_state);
  FIELD(tcpi_ca_state);
  FIELD(tcpi_retransmits);
  FIELD(tcpi_probes);
  FIELD(tcpi_backoff);
  FIELD(tcpi_options);
  FIELD(tcpi_snd_mss);
  FIELD(tcpi_advmss);
  FIELD(tcpi_pmtu);
  FIELD(tcpi_unacked);
  FIELD(tcpi_sacked);
  FIELD(tcpi_lost);
  FIELD(tcpi_retrans);
  FIELD(tcpi_total_retrans);
  snprintf(what, sizeof what, "round trip %s", when);
  number(info.tcpi_rtt > 0 && info.tcpi_rtt < 1000000, what);
  snprintf(what, sizeof what, "retransmission timeout %s", when);
  number(info.tcpi_rto >= 200000 && info.tcpi_rto <= 3000000, what);
  snprintf(what, sizeof what, "congestion window %s", when);
  number(info.tcpi_snd_cwnd >= 10, what);
}

static void informations(void) {
  scene = "TCP_INFO";
  int fd = acceptOne();
  information(fd, "new");
  order('s', 1000);
  take(fd, 2000, 0, "data");
  call(send(fd, bytes, 5000, 0), "send");
  settle();
  poll(NULL, 0, 60);
  information(fd, "after data");
  order('d', 0);
  order('f', 0);
  information(fd, "after the peer's FIN");
  call(shutdown(fd, SHUT_WR), "shutdown");
  settle();
  information(fd, "closed");
  finish(fd);

  fd = makeSocket(address);
  information(fd, "fresh");
  connectOne(fd);
  information(fd, "connected");
  shutdown(fd, SHUT_WR);
  settle();
  poll(NULL, 0, 60);
  information(fd, "half-closed");
  finish(fd);

  fd = acceptOne();
  order('r', 0);
  information(fd, "reset");
  close(fd);
}

/// How often TCP_INFO is not that of a connection on which bytes have gone both ways.
static void *askOften(void *context) {
  int fd = *(int *)context;
  long wrong = 0;
  for (int i = 0; i < 200; i++) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 || info.tcpi_state != 1 ||
        info.tcpi_rtt == 0 || info.tcpi_snd_cwnd < 10)
      wrong++;
  }
  return (void *)wrong;
}

static void informationForMany(void) {
  scene = "TCP_INFO, twelve threads";
  int fd = acceptOne();
  order('s', 1000);
  take(fd, 2000, 0, "data");
  call(send(fd, bytes, 1000, 0), "send");
  settle();
  poll(NULL, 0, 60);
  pthread_t threads[12];
  long wrong = 0;
  for (int i = 0; i < 12; i++)
    if (pthread_create(&threads[i], NULL, askOften, &fd) != 0) die("pthread_create");
  for (int i = 0; i < 12; i++) {
    void *answer;
    pthread_join(threads[i], &answer);
    wrong += (long)answer;
  }
  number(wrong, "wrong answers");
  finish(fd);
}

// MARK: TCP_DEFER_ACCEPT

static void deferred(void) {
  scene = "TCP_DEFER_ACCEPT";
  int plain = listener;
  listener = makeListener(address);
  set(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  struct pollfd descriptor = {.fd = listener, .events = POLLIN};
  call(accept(listener, NULL, NULL), "nobody there");
  if (ordered('c', portOf(listener), address) < 0) die("the remote end's connect");
  settle();
  number(poll(&descriptor, 1, 50), "connected, but silent");
  call(accept(listener, NULL, NULL), "not to be accepted");
  order('s', 5);
  number(poll(&descriptor, 1, 1000), "it speaks");
  int fd = accept(listener, NULL, NULL);
  number(fd >= 0, "accepted");
  take(fd, 100, 0, "what it says");
  finish(fd);
  close(listener);
  listener = plain;
}

// MARK: sendfile

/// A file that ends before what was asked for is sent to its end at once.
static void fileEnds(void) {
  static const int sizes[] = {1000, 32768, 65536, 100000};
  scene = "sendfile beyond the end";
  char path[] = "/tmp/stream-model.XXXXXX";
  int file = mkstemp(path);
  if (file < 0) die("file");
  unlink(path);
  for (int i = 0; i < 4; i++) {
    int fd = acceptOne();
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (ftruncate(file, sizes[i]) < 0) die("file");
    off_t offset = 0;
    call(sendfile(fd, file, &offset, 1 << 20), "sendfile");
    long total = 0, begun = milliseconds();
    while (total < sizes[i] && milliseconds() - begun < 150) total += order('d', 0);
    number(total, "what the peer has soon");
    finish(fd);
  }
  close(file);
}

static void script(void) {
  listener = makeListener(address);
  lowWater();
  timeouts();
  room();
  littleWrites();
  roomThatOthersHave();
  smallBuffer();
  urgentReceived(false);
  urgentReceived(true);
  urgentSent();
  urgentSignal();
  lingers();
  informations();
  informationForMany();
  deferred();
  fileEnds();
  close(listener);
}

int main(int count, char **words) {
  return runModel(count, words, script, NULL, 0);
}
