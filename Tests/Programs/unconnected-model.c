// Compares what calls do to sockets that are not connected, or not yet, with the kernel: the socket itself, and the
// next one, which may be the same of the kernel's.
//
//     unconnected-model [--address ADDRESS [--netns NAME]] [--verbose]
#include "scenes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

static void name(const char *words) {
  scene = words;
  sentOffset = receivedOffset = 0;
}

static socklen_t remoteEnd(struct sockaddr_storage *remote) {
  return makeAddress(remote, remoteAddress, ordered('l', 0, remoteAddress));
}

/// Connects, and exchanges bytes as far as that goes.
static void use(int fd) {
  struct sockaddr_storage remote;
  socklen_t length = remoteEnd(&remote);
  int result = connect(fd, (struct sockaddr *)&remote, length);
  call(result, "connect");
  if (result == 0) {
    call(ordered('a', 0, NULL), "the peer accepts");
    patience(fd, 3);
    writeHere(fd, 100);
    peerSends(50);
    readHere(fd, 50);
  }
  call(close(fd), "close");
  if (result == 0) endOfScene();
}

// MARK: Not yet

static void shutBefore(const char *words, int how) {
  name(words);
  int fd = makeSocket(address);
  call(shutdown(fd, how), "shutdown");
  call(close(fd), "close");
  use(makeSocket(address));

  fd = makeSocket(address);
  call(shutdown(fd, how), "shutdown before connect");
  struct sockaddr_storage remote;
  socklen_t length = remoteEnd(&remote);
  call(connect(fd, (struct sockaddr *)&remote, length), "connect");
  call(ordered('a', 0, NULL), "the peer accepts");
  call(send(fd, "x", 1, MSG_NOSIGNAL), "send");
  settle();
  call(close(fd), "close");
  order('x', 0);
}

static long openFast(int fd, int kind) {
  struct sockaddr_storage remote;
  socklen_t length = remoteEnd(&remote);
  struct iovec vector = {"opened", 6};
  struct mmsghdr message = {.msg_hdr = {.msg_name = &remote, .msg_namelen = length,
                                        .msg_iov = &vector, .msg_iovlen = 1}};
  switch (kind) {
    case 0: return sendto(fd, "opened", 6, MSG_FASTOPEN, (struct sockaddr *)&remote, length);
    case 1: return sendmsg(fd, &message.msg_hdr, MSG_FASTOPEN);
    default: return sendmmsg(fd, &message, 1, MSG_FASTOPEN);
  }
}

/// MSG_FASTOPEN connects.
static void openedFast(const char *words, int kind) {
  name(words);
  int fd = makeSocket(address);
  call(openFast(fd, kind), "send with MSG_FASTOPEN");
  call(ordered('a', 0, NULL), "the peer accepts");
  settle();
  call(order('n', 0), "what the peer sees");
  call(close(fd), "close");
  endOfScene();
  use(makeSocket(address));
}

/// What fcntl and ioctl say to a socket the next one has not.
static void owned(void) {
  name("owner");
  int fd = makeSocket(address), owner = getpid();
  call(fcntl(fd, F_SETOWN, owner), "F_SETOWN");
  call(close(fd), "close");
  fd = makeSocket(address);
  call(fcntl(fd, F_GETOWN), "the owner of the next");
  call(ioctl(fd, FIOSETOWN, &owner), "FIOSETOWN");
  call(close(fd), "close");
  fd = makeSocket(address);
  call(ioctl(fd, FIOGETOWN, &owner) < 0 ? -1 : owner, "the owner of the third");
  use(fd);
}

// MARK: Listeners

static int disconnect(int fd) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  return connect(fd, &none, sizeof none);
}

enum { DISCONNECT = 3 };

static int stop(int fd, int how) { return how == DISCONNECT ? disconnect(fd) : shutdown(fd, how); }

static int eventsOf(int fd) {
  struct pollfd descriptor = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
  return poll(&descriptor, 1, 0) < 0 ? -1 : descriptor.revents;
}

static long eventsIn(int set) {
  struct epoll_event event = {0};
  int count = epoll_wait(set, &event, 1, 0);
  return count > 0 ? (long)event.events : count;
}

/// A listener whose port was asked for by its number, which it keeps when it listens no more.
static int makeNumberedListener(void) {
  int fd = makeListener(address), port = portOf(fd);
  close(fd);
  struct sockaddr_storage local;
  socklen_t length = makeAddress(&local, address, port);
  fd = makeSocket(address);
  // Its connections are remembered for a minute.
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&local, length) < 0 || listen(fd, 16) < 0) die("bind");
  return fd;
}

/// A listener that listens no more, and then again: HAProxy pauses so, and when it begins anew.
static void stopped(const char *words, int how) {
  name(words);
  int own = makeNumberedListener(), port = portOf(own), set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  call(epoll_ctl(set, EPOLL_CTL_ADD, own, &event), "watched");
  fcntl(own, F_SETFL, O_NONBLOCK);
  call(shutdown(own, SHUT_WR), "shutdown of what no listener has");
  struct sockaddr_storage remote;
  socklen_t length = remoteEnd(&remote);
  call(connect(own, (struct sockaddr *)&remote, length), "connect");
  for (int i = 0; i < 2; i++) {
    call(ordered('c', port, address), "the peer connects");
    settle();
    call(eventsIn(set), "events");
    int fd = accept(own, NULL, NULL);
    call(fd < 0 ? -1 : 0, "accept");
    close(fd);
    endOfScene();
    call(ordered('c', port, address), "the peer connects, and nobody accepts");
    settle();
    call(stop(own, how), "stop");
    settle();
    call(order('n', 0), "what the peer sees");
    order('x', 0);
    call(ordered('c', port, address), "the peer connects to what does not listen");
    order('x', 0);
    call(accept(own, NULL, NULL), "accept from what does not listen");
    call(eventsOf(own), "poll");
    call(eventsIn(set), "events");
    call(portOf(own) - port, "its port");
    int listens = -1;
    length = sizeof listens;
    getsockopt(own, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length);
    call(listens, "SO_ACCEPTCONN");
    call(listen(own, 16), "listen");
    call(eventsIn(set), "events of the new listener");
  }
  call(close(own), "close");
  call(ordered('c', port, address), "the peer connects to what is closed");
  order('x', 0);
  close(set);
  use(makeSocket(address));
}

/// A listener with connections of the kernel's queue, in a set from which few events are taken at a time.
static void fewEvents(void) {
  name("few events of a listener");
  int own = makeListener(address), set = epoll_create1(EPOLL_CLOEXEC), pipes[2];
  struct epoll_event event = {.events = EPOLLIN}, events[4];
  fcntl(own, F_SETFL, O_NONBLOCK);
  if (pipe(pipes) < 0) die("pipe");
  epoll_ctl(set, EPOLL_CTL_ADD, own, &event);
  epoll_ctl(set, EPOLL_CTL_ADD, pipes[0], &event);
  struct sockaddr_storage local;
  socklen_t length = makeAddress(&local, address, portOf(own));
  int fd = makeSocket(address);
  if (connect(fd, (struct sockaddr *)&local, length) < 0) die("connect");
  settle();
  for (int most = 1; most <= 4; most++) {
    call(epoll_wait(set, events, most, 0), "epoll_wait for %d", most);
    call(epoll_wait(set, events, most, 100), "epoll_wait for %d, with a time", most);
  }
  call(accept(own, NULL, NULL) < 0 ? -1 : 0, "accept");
  call(epoll_wait(set, events, 1, 0), "epoll_wait when it is accepted");
  if (write(pipes[1], "x", 1) != 1) die("write");
  call(epoll_wait(set, events, 1, 0), "epoll_wait, and something else is there");
  close(fd);
  close(own);
  close(set);
  close(pipes[0]);
  close(pipes[1]);
}

// MARK: Connecting

/// A socket whose connection is under way, and stays so: the peer's backlog is full.
static int beginConnecting(int filler) {
  struct sockaddr_storage remote;
  socklen_t length = remoteEnd(&remote);
  ordered('b', 0, NULL);
  call(connect(filler, (struct sockaddr *)&remote, length), "connect that fills the backlog");
  settle();
  int fd = makeSocket(address);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  call(connect(fd, (struct sockaddr *)&remote, length), "connect");
  call(eventsOf(fd), "poll");
  return fd;
}

static void makeRoom(int filler) {
  ordered('b', 16, NULL);
  ordered('a', 0, NULL);
  close(filler);
  order('x', 0);
}

/// An attempt that the program ends itself. Then it connects anew, having asked for the error before or not.
static void givenUp(const char *words, int how, bool asks) {
  name(words);
  int filler = makeSocket(address), fd = beginConnecting(filler), error = -1;
  call(stop(fd, how), "stop");
  call(eventsOf(fd), "poll when it has stopped");
  socklen_t length = sizeof error;
  if (asks) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  call(error < 0 ? 0 : error, "SO_ERROR");
  if (asks) call(eventsOf(fd), "poll when that was asked");
  makeRoom(filler);
  fcntl(fd, F_SETFL, 0);
  use(fd);
}

struct attempt {
  int fd;
  int result, error;
};

static void *connectBlocked(void *context) {
  struct attempt *attempt = context;
  struct sockaddr_storage remote;
  socklen_t length = makeAddress(&remote, remoteAddress, attempt->result);
  attempt->result = connect(attempt->fd, (struct sockaddr *)&remote, length);
  attempt->error = errno;
  return NULL;
}

/// An attempt that ends under the thread that waits for it.
static void givenUpUnderAThread(const char *words) {
  name(words);
  int filler = makeSocket(address);
  close(beginConnecting(filler));
  struct attempt attempt = {.fd = makeSocket(address), .result = ordered('l', 0, remoteAddress)};
  pthread_t thread;
  pthread_create(&thread, NULL, connectBlocked, &attempt);
  usleep(100000);
  call(shutdown(attempt.fd, SHUT_RDWR), "shutdown");
  pthread_join(thread, NULL);
  errno = attempt.error;
  call(attempt.result, "connect that was blocked");
  makeRoom(filler);
  use(attempt.fd);
}

/// A socket in a set whose first attempt is refused, and which another thread connects then.
static void connectedByAnother(void) {
  name("refused, then connected by another thread");
  struct sockaddr_storage remote;
  socklen_t length = makeAddress(&remote, remoteAddress, 1);
  int fd = makeSocket(address), set = epoll_create1(EPOLL_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  call(connect(fd, (struct sockaddr *)&remote, length), "connect");
  struct epoll_event event = {.events = EPOLLOUT};
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  call(epoll_wait(set, &event, 1, 1000), "epoll_wait");
  call(connect(fd, (struct sockaddr *)&remote, length), "connect again");
  struct attempt attempt = {.fd = fd, .result = ordered('l', 0, remoteAddress)};
  pthread_t thread;
  pthread_create(&thread, NULL, connectBlocked, &attempt);
  pthread_join(thread, NULL);
  errno = attempt.error;
  call(attempt.result, "connect of the thread");
  call(epoll_wait(set, &event, 1, 1000), "epoll_wait for it");
  call(event.events, "events");
  call(ordered('a', 0, NULL), "the peer accepts");
  call(close(fd), "close");
  close(set);
  endOfScene();
}

// MARK: Workers

enum { WORKERS = 4 };

static struct herd {
  int listener;
  atomic_int accepted, refused;
  /// Workers keep what they have accepted.
  atomic_bool keeps;
} *herd;

static void *work(void *context) {
  (void)context;
  int fd;
  while ((fd = accept(herd->listener, NULL, NULL)) >= 0) {
    herd->accepted++;
    while (herd->keeps) usleep(1000);
    close(fd);
  }
  if (errno == EINVAL) herd->refused++;
  return NULL;
}

/// All that block in accept are woken by a connection that the kernel has; those that do not get it have to hear of the
/// engine's.
static void workers(const char *words, bool areProcesses) {
  name(words);
  herd = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  herd->listener = makeListener(address);
  int port = portOf(herd->listener);
  pthread_t threads[WORKERS];
  pid_t processes[WORKERS];
  for (int i = 0; i < WORKERS; i++) {
    if (!areProcesses) {
      pthread_create(&threads[i], NULL, work, NULL);
    } else if ((processes[i] = fork()) == 0) {
      work(NULL);
      _exit(0);
    }
  }
  usleep(100000);
  struct sockaddr_storage local;
  socklen_t length = makeAddress(&local, address, port);
  for (int i = 0; i < 20; i++) {
    int fd = makeSocket(address);
    if (connect(fd, (struct sockaddr *)&local, length) < 0) die("connect");
    usleep(10000);
    close(fd);
  }
  call(herd->accepted, "connections from within the machine");
  herd->keeps = true;
  for (int i = 0; i < WORKERS; i++) call(ordered('c', port, address), "the peer connects");
  usleep(100000);
  call(herd->accepted, "connections that were accepted");
  herd->keeps = false;
  order('x', 0);
  call(shutdown(herd->listener, SHUT_RDWR), "shutdown");
  for (int i = 0; i < WORKERS; i++) {
    if (areProcesses) {
      waitpid(processes[i], NULL, 0);
    } else {
      pthread_join(threads[i], NULL);
    }
  }
  call(herd->refused, "workers that heard of it");
  close(herd->listener);
  munmap(herd, 4096);
}

static void script(void) {
  listener = makeListener(address);
  int fd = begin("a first connection");
  call(close(fd), "close");
  endOfScene();
  shutBefore("shut for reading", SHUT_RD);
  shutBefore("shut for writing", SHUT_WR);
  shutBefore("shut", SHUT_RDWR);
  openedFast("sendto", 0);
  openedFast("sendmsg", 1);
  openedFast("sendmmsg", 2);
  owned();
  stopped("listener shut for reading", SHUT_RD);
  stopped("listener shut", SHUT_RDWR);
  stopped("listener disconnected", DISCONNECT);
  fewEvents();
  givenUp("connecting, shut for writing", SHUT_WR, true);
  givenUp("connecting, shut", SHUT_RDWR, false);
  givenUp("connecting, disconnected", DISCONNECT, false);
  givenUpUnderAThread("connecting in a thread, shut");
  connectedByAnother();
  workers("threads in accept", false);
  workers("processes in accept", true);
  close(listener);
}

int main(int count, char **words) { return runModel(count, words, script, NULL, 0); }
