// Compares connections that several processes have with the kernel's: forked children that use them,
// merely hold them or close them, programs run with and without the library, descriptors sent beside
// messages. Every byte, and the end of the stream and when it comes, at this end and at the peer's.
//
//     process-model [--address ADDRESS [--netns NAME]] [--verbose]
//
// Another process is a puppet: a child that obeys orders on its copy of the connection, also after it
// has become another program.
#include "scenes.h"

#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>

extern char **environ;

// MARK: Puppets

struct puppet {
  pid_t process;
  int pipe;
};

/// What a puppet is told: w rite, r ead, p oll, s hutdown, c lose, D up2 to `argument`, n ow, C lose
/// all but the pipe, F: the same by closefrom, E xec with the library, X: without it, g et the descriptor
/// beside the next message, G: send it beside one, e poll: 1 if readable, q uit.
struct task {
  char what;
  int argument;
  unsigned offset;
};

static int waitReadable(int fd) {
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) return -errno;
  int result = epoll_wait(set, &event, 1, 300);
  close(set);
  return result;
}

static int receiveDescriptor(int pipe) {
  char byte;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  if (recvmsg(pipe, &message, 0) != 1 || message.msg_controllen == 0) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
  return fd;
}

static int sendDescriptor(int pipe, int fd) {
  char byte = 0;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET,
                                    .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  return sendmsg(pipe, &message, 0) == 1 ? 0 : -errno;
}

/// Becomes another program that goes on obeying.
static int becomeAnother(int pipe, int fd, bool preloaded) {
  char self[4096] = {0}, pipeNumber[16], number[16];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return -errno;
  snprintf(pipeNumber, sizeof pipeNumber, "%d", pipe);
  snprintf(number, sizeof number, "%d", fd);
  fcntl(pipe, F_SETFD, 0);
  if (!preloaded) dropLibrary();
  char *arguments[] = {self, "--puppet", pipeNumber, "--descriptor", number, NULL};
  execv(self, arguments);
  return -errno;
}

static int perform(int pipe, int *fd, const struct task *task) {
  switch (task->what) {
    case 'w': return sendPattern(*fd, task->argument, task->offset);
    case 'r': return verifyPattern(*fd, task->argument, task->offset);
    case 'n': return peekNow(*fd);
    case 's': return shutdown(*fd, task->argument) < 0 ? -errno : 0;
    case 'c': return close(*fd) < 0 ? -errno : 0;
    case 'p': {
      struct pollfd descriptor = {.fd = *fd, .events = POLLIN};
      return poll(&descriptor, 1, task->argument) < 0 ? -errno : descriptor.revents;
    }
    case 'e': return waitReadable(*fd);
    case 'D': {
      int copy = dup2(*fd, task->argument);
      if (copy < 0) return -errno;
      close(*fd);
      *fd = copy;
      return 0;
    }
    case 'C':
      close_range(3, (unsigned)pipe - 1, 0);
      return close_range((unsigned)pipe + 1, ~0u, 0) < 0 ? -errno : 0;
    case 'F': {
      int copy = fcntl(*fd, F_DUPFD, pipe + 1);
      if (copy < 0) return -errno;
      close(*fd);
      *fd = copy;
      closefrom(pipe + 1);
      return 0;
    }
    case 'E': return becomeAnother(pipe, *fd, true);
    case 'X': return becomeAnother(pipe, *fd, false);
    case 'g': *fd = receiveDescriptor(pipe); return *fd < 0 ? -1 : 0;
    case 'G': return sendDescriptor(pipe, *fd);
    default: exit(0);
  }
}

static int dance(int pipe, int fd) {
  struct task task;
  while (read(pipe, &task, sizeof task) == sizeof task) {
    int result = perform(pipe, &fd, &task);
    if (write(pipe, &result, sizeof result) != sizeof result) break;
  }
  return 0;
}

/// Forks a child that obeys on its copy of `fd`.
static struct puppet forkPuppet(int fd) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  struct puppet puppet = {.process = fork(), .pipe = pair[0]};
  if (puppet.process < 0) die("fork");
  if (puppet.process == 0) {
    close(pair[0]);
    close(listener);
    // High, so that `closefrom` leaves it.
    int pipe = 900;
    if (pair[1] != pipe) dup3(pair[1], pipe, O_CLOEXEC);
    _exit(dance(pipe, fd));
  }
  close(pair[1]);
  return puppet;
}

/// Tells a puppet something without waiting for the answer.
static void tell(struct puppet puppet, char what, int argument, unsigned offset) {
  struct task task = {.what = what, .argument = argument, .offset = offset};
  if (write(puppet.pipe, &task, sizeof task) != sizeof task) die(scene);
}

static int answerOf(struct puppet puppet) {
  int result = 0;
  if (read(puppet.pipe, &result, sizeof result) != sizeof result) return -9999;
  return result;
}

static int ask(struct puppet puppet, char what, int argument, unsigned offset) {
  tell(puppet, what, argument, offset);
  return answerOf(puppet);
}

static void dismiss(struct puppet puppet) {
  tell(puppet, 'q', 0, 0);
  int status;
  waitpid(puppet.process, &status, 0);
  close(puppet.pipe);
  settle();
}

/// Has a puppet become another program, which obeys when it has begun.
static void transform(struct puppet puppet, bool preloaded) {
  tell(puppet, preloaded ? 'E' : 'X', 0, 0);
}

// MARK: What is observed of puppets

static void readThere(struct puppet puppet, int count) {
  int result = ask(puppet, 'r', count, receivedOffset);
  call(result, "read of %d there", count);
  if (result > 0) receivedOffset += (unsigned)result;
}

static void writeThere(struct puppet puppet, int count) {
  call(ask(puppet, 'w', count, sentOffset), "write of %d there", count);
  peerReads(count);
}

// MARK: fork

/// The parent closes, the child serves: every forking server.
static void childServes(bool early) {
  int fd = begin(early ? "child serves, parent closes at once" : "child serves");
  if (early) peerSends(3000);
  struct puppet puppet = forkPuppet(fd);
  call(close(fd), "close here");
  peerSees("after the parent's close");
  if (!early) peerSends(3000);
  readThere(puppet, 3000);
  writeThere(puppet, 100000);
  peerSends(10);
  call(ask(puppet, 'p', 0, 0), "poll there");
  call(ask(puppet, 'e', 0, 0), "epoll there");
  readThere(puppet, 10);
  call(ask(puppet, 'c', 0, 0), "close there");
  peerSees("after the child's close");
  endOfScene();
  dismiss(puppet);
}

/// The child holds the connection and never touches it.
static void childHolds(void) {
  int fd = begin("child merely holds");
  peerSends(100);
  readHere(fd, 40);
  struct puppet puppet = forkPuppet(fd);
  readHere(fd, 60);
  writeHere(fd, 5000);
  peerSends(500);
  readHere(fd, 500);
  call(close(fd), "close here");
  peerSees("while the child holds it");
  dismiss(puppet);
  peerSees("when the child is gone");
  endOfScene();
}

/// A child that is gone has no part in it.
static void childIsGone(void) {
  int fd = begin("child has gone");
  struct puppet puppet = forkPuppet(fd);
  dismiss(puppet);
  writeHere(fd, 5000);
  peerSends(700);
  readHere(fd, 700);
  call(close(fd), "close here");
  peerSees("after the close");
  endOfScene();
}

static void childClosesFirst(void) {
  int fd = begin("child closes first");
  struct puppet puppet = forkPuppet(fd);
  call(ask(puppet, 'c', 0, 0), "close there");
  peerSees("after the child's close");
  writeHere(fd, 2000);
  peerSends(2000);
  readHere(fd, 2000);
  call(close(fd), "close here");
  peerSees("after the parent's close");
  endOfScene();
  dismiss(puppet);
}

static void bothUse(void) {
  int fd = begin("both use it");
  peerSends(1000);
  readHere(fd, 100);
  struct puppet puppet = forkPuppet(fd);
  readThere(puppet, 200);
  readHere(fd, 300);
  writeHere(fd, 3000);
  writeThere(puppet, 3000);
  readThere(puppet, 400);
  peerSends(64);
  struct pollfd descriptor = {.fd = fd, .events = POLLIN};
  call(poll(&descriptor, 1, 200), "poll here");
  readHere(fd, 64);
  writeHere(fd, 10);
  call(ask(puppet, 's', SHUT_WR, 0), "shutdown there");
  peerSees("after the child's shutdown");
  call(sendPattern(fd, 10, sentOffset), "write here after it");
  call(close(fd), "close here");
  call(ask(puppet, 'c', 0, 0), "close there");
  endOfScene();
  dismiss(puppet);
}

/// The parent watches with epoll while the child takes the connection.
static void parentWatches(void) {
  int fd = begin("parent watches");
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
  call(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  struct puppet puppet = forkPuppet(fd);
  peerSends(100);
  readThere(puppet, 100);
  call(epoll_wait(set, &event, 1, 50), "epoll_wait, nothing");
  peerSends(50);
  call(epoll_wait(set, &event, 1, 500), "epoll_wait, something");
  call((long)event.data.u64, "whose");
  readHere(fd, 50);
  call(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL), "epoll_ctl DEL");
  close(set);
  close(fd);
  dismiss(puppet);
  endOfScene();
}

/// The child goes on with an epoll set of its parent, as after daemon(3).
static void childTakesOver(void) {
  int fd = begin("child takes over");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  call(sendPattern(fd, 400, sentOffset), "write before");
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  peerReads(400);
  peerSends(10);
  readThere(puppet, 10);
  call(ask(puppet, 'r', 10, receivedOffset), "read of nothing, non-blocking");
  // How much more a send buffer of the kernel's takes at once depends on acknowledgements meanwhile.
  writeThere(puppet, 10000);
  dismiss(puppet);
  peerSees("when the child has ended");
  endOfScene();
}

static void finHasArrived(void) {
  int fd = begin("after the peer's FIN");
  peerSends(300);
  order('f', 0);
  settle();
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  readThere(puppet, 300);
  call(ask(puppet, 'r', 1, receivedOffset), "the end, there");
  writeThere(puppet, 2000);
  call(ask(puppet, 'c', 0, 0), "close there");
  endOfScene();
  dismiss(puppet);
}

static void peerResets(void) {
  int fd = begin("the peer resets");
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  peerSends(5);
  readThere(puppet, 5);
  order('r', 0);
  settle();
  call(ask(puppet, 'r', 1, receivedOffset), "read there");
  dismiss(puppet);
}

static void grandchild(void) {
  int fd = begin("grandchild");
  peerSends(10);
  pid_t middle = fork();
  if (middle == 0) {
    pid_t last = fork();
    if (last != 0) _exit(0);
    // The end of the middle process is not this one's.
    usleep(20000);
    int result = verifyPattern(fd, 10, receivedOffset);
    sendPattern(fd, result == 10 ? 777 : 1, sentOffset);
    _exit(0);
  }
  close(fd);
  waitpid(middle, NULL, 0);
  peerReads(777);
  endOfScene();
}

static void manyForks(void) {
  int fd = begin("two children");
  struct puppet first = forkPuppet(fd), second = forkPuppet(fd);
  close(fd);
  peerSends(60);
  readThere(first, 20);
  readThere(second, 20);
  readThere(first, 20);
  writeThere(second, 1000);
  writeThere(first, 1000);
  call(ask(first, 'c', 0, 0), "close in the first");
  peerSees("after the first has closed");
  call(ask(second, 'c', 0, 0), "close in the second");
  peerSees("after the second has closed");
  endOfScene();
  dismiss(first);
  dismiss(second);
}

// MARK: exec

/// inetd: the connection becomes the standard streams of another program.
static void execStandardStreams(bool preloaded) {
  int fd = begin(preloaded ? "exec, as inetd" : "exec without the library, as inetd");
  peerSends(123);
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  // 0 may be /dev/null or a pipe: nobody needs it in the child.
  call(ask(puppet, 'D', 0, 0), "dup2 to 0");
  transform(puppet, preloaded);
  readThere(puppet, 123);
  writeThere(puppet, 4321);
  call(ask(puppet, 'c', 0, 0), "close there");
  peerSees("after the program's close");
  endOfScene();
  dismiss(puppet);
}

// MARK: SCM_RIGHTS

static void passedOn(bool keep) {
  int fd = begin(keep ? "sent beside a message, kept here" : "sent beside a message");
  peerSends(500);
  struct puppet puppet = forkPuppet(-1);
  transform(puppet, false);
  readHere(fd, 100);
  tell(puppet, 'g', 0, 0);
  call(sendDescriptor(puppet.pipe, fd), "sendmsg");
  call(answerOf(puppet), "recvmsg there");
  if (!keep) close(fd);
  readThere(puppet, 400);
  writeThere(puppet, 70000);
  call(ask(puppet, 'c', 0, 0), "close there");
  peerSees("after the close there");
  if (keep) {
    writeHere(fd, 9);
    close(fd);
  }
  endOfScene();
  dismiss(puppet);
}

static void sentBack(void) {
  int fd = begin("sent there and back");
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  peerSends(30);
  readThere(puppet, 10);
  tell(puppet, 'G', 0, 0);
  int back = receiveDescriptor(puppet.pipe);
  call(answerOf(puppet), "sendmsg there");
  call(back >= 0 ? 0 : -1, "recvmsg here");
  dismiss(puppet);
  peerSees("when the child is gone");
  patience(back, 3);
  readHere(back, 20);
  writeHere(back, 20);
  close(back);
  endOfScene();
}

// MARK: Spawning

static void spawned(bool preloaded) {
  int fd = begin(preloaded ? "posix_spawn" : "posix_spawn without the library");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  call(posix_spawn_file_actions_adddup2(&actions, fd, 0), "adddup2");
  posix_spawn_file_actions_adddup2(&actions, pair[1], 109);
  char self[4096] = {0};
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  char *arguments[] = {self, "--puppet", "109", "--descriptor", "0", NULL};
  const char *library = getenv("LD_PRELOAD");
  char *saved = library ? strdup(library) : NULL;
  if (!preloaded) dropLibrary();
  struct puppet puppet = {.pipe = pair[0]};
  call(posix_spawn(&puppet.process, self, &actions, NULL, arguments, environ), "posix_spawn");
  if (saved) setenv("LD_PRELOAD", saved, 1);
  posix_spawn_file_actions_destroy(&actions);
  close(pair[1]);
  peerSends(99);
  call(close(fd), "close here");
  readThere(puppet, 99);
  writeThere(puppet, 99);
  dismiss(puppet);
  peerSees("when the program is gone");
  endOfScene();
}

/// A child waits in a set that its parent made, with the connection in it; and closes a listener that is in there.
static void setInherited(void) {
  int fd = begin("set inherited"), set = epoll_create1(EPOLL_CLOEXEC), own = makeListener(address);
  struct epoll_event event = {.events = EPOLLIN};
  call(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  call(epoll_ctl(set, EPOLL_CTL_ADD, own, &event), "epoll_ctl of a listener");
  pid_t child = fork();
  if (child == 0) {
    char bytes[16];
    int count = epoll_wait(set, &event, 1, 2000);
    ssize_t length = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    close(own);
    _exit(count << 4 | (length < 0 ? 15 : (int)length));
  }
  peerSends(7);
  int status = -1;
  waitpid(child, &status, 0);
  call(WEXITSTATUS(status) >> 4, "events in the child");
  call(WEXITSTATUS(status) & 15, "what it has read");
  receivedOffset += 7;
  writeHere(fd, 44);
  call(close(fd), "close here");
  endOfScene();
  // Of the kernel's queue.
  struct sockaddr_storage local;
  socklen_t length = makeAddress(&local, address, portOf(own));
  int client = makeSocket(address);
  call(connect(client, (struct sockaddr *)&local, length), "connect within the machine");
  call(epoll_wait(set, &event, 1, 1000), "events here");
  close(client);
  close(own);
  close(set);
}

/// How a child made by vfork lets a connection through to the program that it becomes.
enum passage { BY_DUP2, BY_FCNTL, BY_IOCTL, BY_FCNTL_AND_DUP2 };

static int passOn(int fd, enum passage passage) {
  switch (passage) {
    case BY_DUP2: return dup2(fd, 108);
    case BY_FCNTL: return fcntl(fd, F_SETFD, 0) < 0 ? -1 : fd;
    case BY_IOCTL: return ioctl(fd, FIONCLEX) < 0 ? -1 : fd;
    default: return fcntl(fd, F_SETFD, 0) < 0 ? -1 : dup2(fd, 108);
  }
}

static void vforked(const char *name, enum passage passage) {
  int fd = begin(name);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  static char self[4096];
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) die("/proc/self/exe");
  char number[16];
  snprintf(number, sizeof number, "%d", passage == BY_FCNTL || passage == BY_IOCTL ? fd : 108);
  char *arguments[] = {self, "--puppet", "109", "--descriptor", number, NULL};
  pid_t child = vfork();
  if (child == 0) {
    if (passOn(fd, passage) < 0 || dup2(pair[1], 109) < 0) _exit(1);
    execv(self, arguments);
    _exit(2);
  }
  close(pair[1]);
  struct puppet puppet = {.process = child, .pipe = pair[0]};
  peerSends(44);
  readThere(puppet, 44);
  writeThere(puppet, 44);
  dismiss(puppet);
  writeHere(fd, 44);
  call(close(fd), "close here");
  peerSees("after the close");
  endOfScene();
}

// MARK: Descriptors

static void overwritten(void) {
  int fd = begin("dup2 over it");
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  call(dup2(null, fd) == fd ? 0 : -1, "dup2");
  peerSees("after dup2 over it");
  char byte = 0;
  call(write(fd, &byte, 1), "write to what is there now");
  close(fd);
  close(null);
  endOfScene();

  fd = begin("dup2 of one over another");
  int copy = dup(fd);
  call(dup2(fd, copy) == copy ? 0 : -1, "dup2 to itself");
  close(fd);
  peerSees("after one of two is closed");
  writeHere(copy, 10);
  close(copy);
  endOfScene();
}

static void ranges(void) {
  int fd = begin("close_range");
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 600);
  call(close_range(600, 700, 0), "close_range of a duplicate");
  call(send(copy, "x", 1, MSG_NOSIGNAL), "send on it");
  peerSees("while one is open");
  writeHere(fd, 20);
  struct puppet puppet = forkPuppet(fd);
  call(ask(puppet, 'c', 0, 0), "close there");
  dismiss(puppet);
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, 600);
  close(fd);
  call(close_range(600, 899, 0), "close_range of all");
  call(send(moved, "x", 1, MSG_NOSIGNAL), "send after it");
  peerSees("after close_range");
  endOfScene();
}

static void childClosesAll(void) {
  int fd = begin("child closes from 3 on");
  struct puppet puppet = forkPuppet(fd);
  close(fd);
  peerSees("while the child holds it");
  // All but the pipe, which is 900.
  call(ask(puppet, 'C', 0, 0), "close_range there");
  peerSees("after close_range in the child");
  endOfScene();
  dismiss(puppet);
}

static void closedFrom(void) {
  int fd = begin("closefrom");
  struct puppet puppet = forkPuppet(fd);
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, 600);
  close(fd);
  writeHere(moved, 20);
  closefrom(600);
  call(send(moved, "x", 1, MSG_NOSIGNAL), "send after it");
  peerSees("while the child holds it");
  writeThere(puppet, 30);
  call(ask(puppet, 'F', 0, 0), "closefrom there");
  peerSees("after closefrom in the child");
  endOfScene();
  dismiss(puppet);
}

/// A server that listens, goes into the background, and then accepts. Its connection and its listener are
/// both those of a process that has ended.
static void goesIntoTheBackground(void) {
  scene = "daemon";
  sentOffset = receivedOffset = 0;
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) < 0) die("pipe");
  pid_t child = fork();
  if (child == 0) {
    int own = makeListener(address), port = portOf(own), first, second;
    if (write(pair[1], &port, sizeof port) != sizeof port) _exit(1);
    first = accept(own, NULL, NULL);
    sendPattern(first, 10, 0);
    if (daemon(1, 1) < 0) _exit(1);
    int answer = verifyPattern(first, 20, 0);
    sendPattern(first, answer == 20 ? 300 : 1, 10);
    close(first);
    second = accept(own, NULL, NULL);
    sendPattern(second, 50, 310);
    _exit(0);
  }
  int port = 0;
  if (read(pair[0], &port, sizeof port) != sizeof port) die("the server");
  close(pair[0]);
  close(pair[1]);
  call(ordered('c', port, address), "connect");
  peerReads(10);
  int status;
  waitpid(child, &status, 0);
  call(status, "the process that was started");
  peerSends(20);
  peerReads(300);
  endOfScene();
  call(ordered('c', port, address), "connect to the daemon");
  peerReads(50);
  endOfScene();
}

static void numbersRunOut(void) {
  scene = "RLIMIT_NOFILE";
  struct rlimit limit, low;
  getrlimit(RLIMIT_NOFILE, &limit);
  int fd = begin("RLIMIT_NOFILE");
  call(fd < FD_SETSIZE, "a number for select");
  low = limit;
  low.rlim_cur = 40;
  setrlimit(RLIMIT_NOFILE, &low);
  int copies[64], count = 0;
  while (count < 64 && (copies[count] = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0) count++;
  call(copies[count < 64 ? count : 63], "one too many");
  call(socket(AF_INET, SOCK_STREAM, 0), "socket");
  int result = ordered('c', portOf(listener), address);
  if (result < 0) die("the remote end's connect");
  settle();
  call(accept(listener, NULL, NULL), "accept");
  for (int i = 0; i < count; i++) close(copies[i]);
  setrlimit(RLIMIT_NOFILE, &limit);
  int late = accept(listener, NULL, NULL);
  call(late >= 0 ? 0 : -1, "accept when there are numbers again");
  close(late);
  endOfScene();
  close(fd);
}

/// Bytes that a parent writes while its child takes the connection over, and before it closes: none is
/// lost. Which of the two comes first is a matter of luck.
static void writtenDuringTheMove(void) {
  int total = 0;
  for (int round = 0; round < 60; round++) {
    int fd = begin("written during the move");
    struct puppet puppet = forkPuppet(fd);
    tell(puppet, 'w', 1000, 0);
    struct timespec pause = {.tv_nsec = round * 10000};
    nanosleep(&pause, NULL);
    for (int i = 0; i < 20; i++) sendPattern(fd, 50, 0);
    close(fd);
    answerOf(puppet);
    dismiss(puppet);
    int here = 0;
    for (int try = 0; try < 100 && here < 2000; try++) here += order('d', 0);
    total += here;
    order('x', 0);
  }
  call(total, "bytes of both");
}

static void script(void) {
  listener = makeListener(address);
  childServes(false);
  childServes(true);
  childHolds();
  childIsGone();
  childClosesFirst();
  bothUse();
  parentWatches();
  childTakesOver();
  finHasArrived();
  peerResets();
  grandchild();
  manyForks();
  execStandardStreams(true);
  execStandardStreams(false);
  passedOn(false);
  passedOn(true);
  sentBack();
  spawned(true);
  spawned(false);
  setInherited();
  vforked("vfork, dup2, exec", BY_DUP2);
  vforked("vfork, F_SETFD, exec", BY_FCNTL);
  vforked("vfork, FIONCLEX, exec", BY_IOCTL);
  vforked("vfork, F_SETFD, dup2, exec", BY_FCNTL_AND_DUP2);
  overwritten();
  ranges();
  childClosesAll();
  closedFrom();
  goesIntoTheBackground();
  writtenDuringTheMove();
  numbersRunOut();
  close(listener);
}

int main(int count, char **words) {
  if (count == 5 && !strcmp(words[1], "--puppet")) {
    program = "puppet";
    return dance(atoi(words[2]), atoi(words[4]));
  }
  return runModel(count, words, script, NULL, 0);
}
