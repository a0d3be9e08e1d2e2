// Compares descriptors that are closed while threads block in them with the kernel's: in read, write, accept,
// poll, select and epoll_wait. What the calls return and when, and what the peer sees meanwhile.
//
//     closing-model [--address ADDRESS [--netns NAME]] [--verbose]
#include "scenes.h"

#include <pthread.h>

struct blocked {
  int fd;
  ssize_t result;
  int error;
  /// Of poll, or of epoll_wait.
  unsigned events;
  /// Whether the call returned before its time was over.
  bool isEarly;
};

/// Gives threads time to block.
static void letBlock(void) { usleep(100000); }

static void *readBlocked(void *context) {
  struct blocked *blocked = context;
  char bytes[16];
  blocked->result = read(blocked->fd, bytes, sizeof bytes);
  blocked->error = errno;
  return NULL;
}

/// A thread blocks in read while another closes the descriptor: the call goes on, and the connection
/// lives until it has returned.
static void closedUnderAThread(void) {
  int fd = begin("closed under a thread");
  struct blocked blocked = {.fd = fd};
  pthread_t thread;
  pthread_create(&thread, NULL, readBlocked, &blocked);
  letBlock();
  call(close(fd), "close");
  peerSees("while the thread blocks");
  peerSends(7);
  pthread_join(thread, NULL);
  errno = blocked.error;
  call(blocked.result, "read that was blocked");
  settle();
  endOfScene();
}

/// Two threads: the connection lives until the second has returned.
static void closedUnderTwoThreads(void) {
  int fd = begin("closed under two threads");
  struct blocked blocked[2] = {{.fd = fd}, {.fd = fd}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, readBlocked, &blocked[i]);
  letBlock();
  call(close(fd), "close");
  peerSends(7);
  letBlock();
  peerSees("when one has returned");
  order('f', 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  call(blocked[0].result + blocked[1].result, "what both have read");
  endOfScene();
}

static void *writeBlocked(void *context) {
  struct blocked *blocked = context;
  blocked->result = sendPattern(blocked->fd, 1000000, 0);
  return NULL;
}

/// A thread that waits for room goes on writing.
static void closedUnderAWriter(void) {
  int fd = begin("closed under a writer");
  int room = 20000;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  struct blocked blocked = {.fd = fd};
  pthread_t thread;
  pthread_create(&thread, NULL, writeBlocked, &blocked);
  letBlock();
  call(close_range((unsigned)fd, (unsigned)fd, 0), "close_range");
  peerReads(1000000);
  pthread_join(thread, NULL);
  call(blocked.result, "write that was blocked");
  endOfScene();
}

/// A thread that was cancelled in its call holds nothing.
static void cancelled(void) {
  int fd = begin("cancelled in a call");
  struct blocked blocked = {.fd = fd};
  pthread_t thread;
  pthread_create(&thread, NULL, readBlocked, &blocked);
  letBlock();
  pthread_cancel(thread);
  pthread_join(thread, NULL);
  call(close(fd), "close");
  peerSees("after the close");
  endOfScene();

  fd = begin("cancelled after the close");
  blocked.fd = fd;
  pthread_create(&thread, NULL, readBlocked, &blocked);
  letBlock();
  call(close(fd), "close");
  peerSees("while the thread blocks");
  pthread_cancel(thread);
  pthread_join(thread, NULL);
  peerSees("when it has ended");
  endOfScene();
}

/// Milliseconds for which calls with a time wait.
#define PATIENCE 400

static int64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void conclude(struct blocked *blocked, ssize_t result, unsigned events, int64_t begun) {
  blocked->error = errno;
  blocked->result = result;
  blocked->events = events;
  blocked->isEarly = milliseconds() - begun < PATIENCE;
}

/// In a thread, which is given time to block.
static pthread_t start(void *(*body)(void *), struct blocked *blocked) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, blocked) != 0) die("pthread_create");
  letBlock();
  return thread;
}

static void finish(pthread_t thread, struct blocked *blocked) {
  pthread_join(thread, NULL);
  errno = blocked->error;
  call(blocked->result, "the call that was blocked");
  call(blocked->events, "its events");
  call(blocked->isEarly, "whether it returned early");
}

static void *acceptBlocked(void *context) {
  struct blocked *blocked = context;
  int64_t begun = milliseconds();
  conclude(blocked, accept(blocked->fd, NULL, NULL), 0, begun);
  return NULL;
}

/// A thread that blocks in accept has the next connection, also if it is of the kernel's backlog; then nothing
/// listens any more.
static void listenerClosedUnderAThread(void) {
  scene = "listener closed under a thread";
  sentOffset = receivedOffset = 0;
  int own = makeListener(address), port = portOf(own);
  struct blocked blocked = {.fd = own};
  pthread_t thread = start(acceptBlocked, &blocked);
  call(close(own), "close");
  letBlock();
  call(ordered('c', port, address), "connect");
  pthread_join(thread, NULL);
  errno = blocked.error;
  call(blocked.result < 0 ? -1 : 0, "accept that was blocked");
  if (blocked.result >= 0) writeHere((int)blocked.result, 100);
  if (blocked.result >= 0) close((int)blocked.result);
  endOfScene();
  letBlock();
  call(ordered('c', port, address), "connect when it has returned");
  order('x', 0);
}

static void *pollBlocked(void *context) {
  struct blocked *blocked = context;
  struct pollfd descriptor = {.fd = blocked->fd, .events = POLLIN};
  int64_t begun = milliseconds();
  int result = poll(&descriptor, 1, PATIENCE);
  conclude(blocked, result, (unsigned)descriptor.revents, begun);
  return NULL;
}

static void *selectBlocked(void *context) {
  struct blocked *blocked = context;
  fd_set sets[3];
  for (int i = 0; i < 3; i++) {
    FD_ZERO(&sets[i]);
    FD_SET(blocked->fd, &sets[i]);
  }
  FD_CLR(blocked->fd, &sets[1]);
  struct timeval time = {.tv_usec = PATIENCE * 1000};
  int64_t begun = milliseconds();
  int result = select(blocked->fd + 1, &sets[0], &sets[1], &sets[2], &time);
  unsigned events = 0;
  for (int i = 0; i < 3; i++)
    if (FD_ISSET(blocked->fd, &sets[i])) events |= 1u << i;
  conclude(blocked, result, events, begun);
  return NULL;
}

/// The call waits for its time, and finds the number closed.
static void closedUnderPoll(const char *name, void *(*body)(void *)) {
  int fd = begin(name);
  call(fd < FD_SETSIZE, "a number for select");
  struct blocked blocked = {.fd = fd};
  pthread_t thread = start(body, &blocked);
  call(close(fd), "close");
  peerSees("while the thread waits");
  finish(thread, &blocked);
  peerSees("when it has returned");
  endOfScene();
}

/// What arrives ends the call, which finds the number closed.
static void closedUnderPollWithData(const char *name, void *(*body)(void *)) {
  int fd = begin(name);
  struct blocked blocked = {.fd = fd};
  pthread_t thread = start(body, &blocked);
  call(close(fd), "close");
  peerSends(7);
  finish(thread, &blocked);
  endOfScene();
}

static void *epollBlocked(void *context) {
  struct blocked *blocked = context;
  struct epoll_event event = {0};
  int64_t begun = milliseconds();
  int result = epoll_wait(blocked->fd, &event, 1, PATIENCE);
  conclude(blocked, result, result > 0 ? event.events : 0, begun);
  return NULL;
}

/// A set holds nothing: the connection ends at once.
static void memberClosedUnderEpoll(void) {
  int fd = begin("member closed under epoll_wait"), set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  struct blocked blocked = {.fd = set};
  pthread_t thread = start(epollBlocked, &blocked);
  call(close(fd), "close");
  peerSees("while the thread waits");
  finish(thread, &blocked);
  close(set);
  endOfScene();
}

/// The call goes on with the set as it was.
static void setClosedUnderEpoll(bool sends) {
  int fd = begin(sends ? "set closed under epoll_wait, data" : "set closed under epoll_wait");
  int set = epoll_create1(EPOLL_CLOEXEC), other;
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  struct blocked blocked = {.fd = set};
  pthread_t thread = start(epollBlocked, &blocked);
  call(close(set), "close");
  // Takes its number.
  call((other = epoll_create1(EPOLL_CLOEXEC)) - set, "another set");
  if (sends) peerSends(7);
  finish(thread, &blocked);
  call(epoll_wait(other, &event, 1, 0), "epoll_wait of the other set");
  close(other);
  if (sends) readHere(fd, 7);
  close(fd);
  endOfScene();
}

static void script(void) {
  listener = makeListener(address);
  closedUnderAThread();
  closedUnderTwoThreads();
  closedUnderAWriter();
  cancelled();
  listenerClosedUnderAThread();
  closedUnderPoll("closed under poll", pollBlocked);
  closedUnderPoll("closed under select", selectBlocked);
  closedUnderPollWithData("closed under poll, data", pollBlocked);
  closedUnderPollWithData("closed under select, data", selectBlocked);
  memberClosedUnderEpoll();
  setClosedUnderEpoll(false);
  setClosedUnderEpoll(true);
  close(listener);
}

#define AT_ONCE "poll and select do not hold a connection: that ends at once, and so do they"

static const struct difference list[] = {
    {"closed under poll: what the peer sees while", NULL, AT_ONCE},
    {"closed under poll: whether it returned early", NULL, AT_ONCE},
    {"closed under select: what the peer sees while", NULL, AT_ONCE},
    {"closed under select: whether it returned early", NULL, AT_ONCE},
    {"closed under poll, data: how it ends for the peer", NULL, AT_ONCE},
    {"closed under select, data: how it ends for the peer", NULL, AT_ONCE},
};

int main(int count, char **words) {
  return runModel(count, words, script, list, sizeof list / sizeof *list);
}
