// An echo server in every style of waiting, and a client that notices a wake-up that never came.
//
//   readiness-echo --mode MODE [--address ADDRESS [--netns NAME]] [--threads N] [--connections N]
//                  [--seconds N] [--once]
//
// MODE says how the server waits: "shared" (all threads in one epoll set, edge-triggered one-shot),
// "sets" (a set per thread, level-triggered, listener in each), "edge" (likewise, edge-triggered),
// "handover" (one thread accepts and gives connections to the sets of the others), "poll",
// "select", "blocking" (a thread per connection). The client sends a message of random length on
// each connection and waits for it to come back; a connection that stands still for two seconds
// ends the test. With --once each connection serves one message and is opened anew.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
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

enum { MOST_CONNECTIONS = 512, MESSAGE = 20000, EVENTS = 16 };

static const char *mode = "sets", *address = "127.0.0.1", *netns;
static int threads = 2, connections = 16, seconds = 3, listener, sharedSet, sets[64];
static bool once;

static void die(const char *what) {
  fprintf(stderr, "readiness-echo: %s: %s\n", what, strerror(errno));
  exit(2);
}

// MARK: Server

/// Echoes what is there; false when the connection is over.
static bool echo(int fd, bool repeat) {
  char bytes[4096];
  do {
    ssize_t count = recv(fd, bytes, sizeof bytes, 0);
    if (count == 0) return false;
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    for (ssize_t done = 0; done < count;) {
      ssize_t sent = send(fd, bytes + done, (size_t)(count - done), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        poll(&wait, 1, 1000);
        continue;
      }
      if (sent < 0) return false;
      done += sent;
    }
  } while (repeat);
  return true;
}

static void control(int set, int operation, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data = {.fd = fd}};
  if (epoll_ctl(set, operation, fd, &event) < 0) die("epoll_ctl");
}

static void *serveShared(void *unused) {
  (void)unused;
  struct epoll_event events[EVENTS];
  while (true) {
    int count = epoll_wait(sharedSet, events, 1, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      uint32_t mask = EPOLLIN | EPOLLET | EPOLLONESHOT;
      if (fd == listener) {
        int accepted;
        while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
          control(sharedSet, EPOLL_CTL_ADD, accepted, mask);
        control(sharedSet, EPOLL_CTL_MOD, listener, EPOLLIN | EPOLLONESHOT);
      } else if (echo(fd, true)) {
        control(sharedSet, EPOLL_CTL_MOD, fd, mask);
      } else {
        close(fd);
      }
    }
  }
  return NULL;
}

static void *serveSet(void *number) {
  bool isEdge = !strcmp(mode, "edge"), isHandover = !strcmp(mode, "handover");
  uint32_t flags = isEdge ? EPOLLET : 0;
  int set = sets[(intptr_t)number], next = 0;
  struct epoll_event events[EVENTS];
  if (!isHandover || number == NULL) control(set, EPOLL_CTL_ADD, listener, EPOLLIN | flags);
  while (true) {
    int count = epoll_wait(set, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int accepted;
        while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          int target = isHandover && threads > 1 ? sets[1 + next++ % (threads - 1)] : set;
          control(target, EPOLL_CTL_ADD, accepted, EPOLLIN | EPOLLRDHUP | flags);
          if (!isEdge && !isHandover) break;
        }
      } else if (!echo(fd, isEdge)) {
        close(fd);
      }
    }
  }
  return NULL;
}

static void *serveBlocking(void *connection) {
  while (echo((int)(intptr_t)connection, false)) {}
  close((int)(intptr_t)connection);
  return NULL;
}

static void *acceptBlocking(void *unused) {
  (void)unused;
  fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK);
  while (true) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    pthread_t thread;
    if (pthread_create(&thread, NULL, serveBlocking, (void *)(intptr_t)fd)) die("pthread_create");
    pthread_detach(thread);
  }
  return NULL;
}

static void *servePoll(void *unused) {
  (void)unused;
  static struct pollfd descriptors[MOST_CONNECTIONS + 1];
  int count = 1;
  descriptors[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  while (true) {
    poll(descriptors, (nfds_t)count, -1);
    for (int i = count - 1; i > 0; i--) {
      if (!descriptors[i].revents || echo(descriptors[i].fd, false)) continue;
      close(descriptors[i].fd);
      descriptors[i] = descriptors[--count];
    }
    if (!descriptors[0].revents) continue;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0) descriptors[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  return NULL;
}

static void *serveSelect(void *unused) {
  (void)unused;
  fd_set all;
  FD_ZERO(&all);
  FD_SET(listener, &all);
  while (true) {
    fd_set ready = all;
    select(FD_SETSIZE, &ready, NULL, NULL, NULL);
    for (int fd = 0; fd < FD_SETSIZE; fd++) {
      if (!FD_ISSET(fd, &ready)) continue;
      if (fd == listener) {
        int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (accepted >= 0) FD_SET(accepted, &all);
      } else if (!echo(fd, false)) {
        close(fd);
        FD_CLR(fd, &all);
      }
    }
  }
  return NULL;
}

static uint16_t startServer(void) {
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_in local = {.sin_family = AF_INET};
  socklen_t length = sizeof local;
  inet_pton(AF_INET, address, &local.sin_addr);
  if (bind(listener, (struct sockaddr *)&local, sizeof local) < 0) die("bind");
  if (listen(listener, 512) < 0) die("listen");
  getsockname(listener, (struct sockaddr *)&local, &length);
  bool isShared = !strcmp(mode, "shared");
  void *(*serve)(void *) = isShared                    ? serveShared
                           : !strcmp(mode, "poll")     ? servePoll
                           : !strcmp(mode, "select")   ? serveSelect
                           : !strcmp(mode, "blocking") ? acceptBlocking
                                                       : serveSet;
  if (serve == servePoll || serve == serveSelect) threads = 1;
  if (isShared) {
    sharedSet = epoll_create1(EPOLL_CLOEXEC);
    control(sharedSet, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLONESHOT);
  }
  for (intptr_t i = 0; i < threads; i++) sets[i] = epoll_create1(EPOLL_CLOEXEC);
  for (intptr_t i = 0; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)i)) die("pthread_create");
  }
  return ntohs(local.sin_port);
}

// MARK: Client

struct connection {
  int fd;
  unsigned length, sent, received;
  double since;
};

static struct connection table[MOST_CONNECTIONS];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void begin(struct connection *connection) {
  connection->length = 1 + (unsigned)(random() % 8 ? random() % 200 : random() % MESSAGE);
  connection->sent = connection->received = 0;
  connection->since = now();
}

static void connectTo(struct connection *connection, uint16_t port) {
  struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &remote.sin_addr);
  connection->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(connection->fd, (struct sockaddr *)&remote, sizeof remote) < 0) die("connect");
  fcntl(connection->fd, F_SETFL, O_NONBLOCK);
  int on = 1;
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  begin(connection);
}

/// Moves a connection on; true when a message has come back.
static bool advance(struct connection *connection, int number) {
  char bytes[MESSAGE];
  if (connection->sent < connection->length) {
    memset(bytes, number, connection->length);
    ssize_t count = send(connection->fd, bytes, connection->length - connection->sent, MSG_NOSIGNAL);
    if (count > 0) connection->sent += (unsigned)count;
  }
  ssize_t count = recv(connection->fd, bytes, sizeof bytes, 0);
  if (count == 0 || (count < 0 && errno != EAGAIN)) die("a connection broke");
  for (ssize_t i = 0; i < count; i++)
    if (bytes[i] != (char)number) die("wrong bytes");
  if (count > 0) {
    connection->received += (unsigned)count;
    connection->since = now();
  }
  return connection->received == connection->length;
}

static int runClient(uint16_t port) {
  struct pollfd descriptors[MOST_CONNECTIONS];
  unsigned long messages = 0;
  double end = now() + seconds;
  for (int i = 0; i < connections; i++) connectTo(&table[i], port);
  while (now() < end) {
    for (int i = 0; i < connections; i++) {
      bool isSending = table[i].sent < table[i].length;
      descriptors[i] = (struct pollfd){.fd = table[i].fd,
                                       .events = POLLIN | (isSending ? POLLOUT : 0)};
      if (now() - table[i].since > 2) {
        printf("readiness-echo %s: connection %d stands still: %u of %u sent, %u back\n", mode, i,
               table[i].sent, table[i].length, table[i].received);
        return 1;
      }
    }
    poll(descriptors, (nfds_t)connections, 100);
    for (int i = 0; i < connections; i++) {
      if (!descriptors[i].revents || !advance(&table[i], i + 1)) continue;
      messages++;
      if (once) {
        close(table[i].fd);
        connectTo(&table[i], port);
      } else {
        begin(&table[i]);
      }
    }
  }
  printf("readiness-echo %s: %lu messages\n", mode, messages);
  return 0;
}

static pid_t startClient(char **words, uint16_t port) {
  pid_t child = fork();
  if (child) return child;
  if (netns) {
    char path[256];
    snprintf(path, sizeof path, "/var/run/netns/%s", netns);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(path);
  }
  char self[4096] = {0}, number[16];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  snprintf(number, sizeof number, "%d", port);
  setenv("READINESS_ECHO_PORT", number, 1);
  // As in model.h.
  setenv("LD_PRELOAD", "", 1);
  execv(self, words);
  die("exec");
  return -1;
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    const char *value = i + 1 < count ? words[i + 1] : "";
    if (!strcmp(words[i], "--once")) { once = true; continue; }
    if (!strcmp(words[i], "--mode")) mode = value;
    if (!strcmp(words[i], "--address")) address = value;
    if (!strcmp(words[i], "--netns")) netns = value;
    if (!strcmp(words[i], "--threads")) threads = atoi(value);
    if (!strcmp(words[i], "--connections")) connections = atoi(value);
    if (!strcmp(words[i], "--seconds")) seconds = atoi(value);
    i++;
  }
  if (connections > MOST_CONNECTIONS || threads > 64) die("too many");
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGPIPE, SIG_IGN);
  const char *port = getenv("READINESS_ECHO_PORT");
  if (port) return runClient((uint16_t)atoi(port));
  pid_t client = startClient(words, startServer());
  int status = 0;
  waitpid(client, &status, 0);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
}
