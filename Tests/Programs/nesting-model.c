// Compares sets with the kernel's: a set in a set, where few events are taken at a time, what is heard while a
// set is polled, a wait in a set that a signal handler interrupts which forks.
//
//     nesting-model [--address ADDRESS [--netns NAME]] [--verbose]
#include "scenes.h"

#include <pthread.h>
#include <stdatomic.h>

static void watch(int set, int fd) {
  struct epoll_event event = {.events = EPOLLIN};
  call(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/// A connection is ready in a set that is in another, and beside it for a while a pipe, whose events take
/// the room of the connection's: the outer set stays readable.
static void littleRoom(void) {
  int fd = begin("little room"), pipes[2];
  int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event;
  char byte = 0;
  if (pipe(pipes) != 0) die("pipe");
  watch(inner, pipes[0]);
  watch(outer, inner);
  watch(inner, fd);
  call(epoll_wait(outer, &event, 1, 0), "epoll_wait of the outer set, nothing there");
  call(epoll_ctl(inner, EPOLL_CTL_DEL, fd, NULL), "epoll_ctl");
  peerSends(7);
  for (int waits = 0; waits < 5; waits++) {
    call(epoll_wait(outer, &event, 1, 0), "epoll_wait of the outer set, nothing there");
    watch(inner, fd);
    if (write(pipes[1], &byte, 1) != 1) die("write to a pipe");
    for (int i = 0; i < waits; i++)
      call(epoll_wait(inner, &event, 1, 0), "epoll_wait of the inner set");
    if (read(pipes[0], &byte, 1) != 1) die("read from a pipe");
    call(epoll_wait(outer, &event, 1, 0), "epoll_wait of the outer set, %d events taken", waits);
    call(epoll_ctl(inner, EPOLL_CTL_DEL, fd, NULL), "epoll_ctl");
  }
  readHere(fd, 7);
  close(outer);
  close(inner);
  close(pipes[0]);
  close(pipes[1]);
  close(fd);
  endOfScene();
}

static struct {
  int fd, set;
  atomic_int received;
  atomic_bool isOver;
} bystanders;

static void *readByByte(void *context) {
  char byte;
  while (recv(bystanders.fd, &byte, 1, 0) == 1) bystanders.received++;
  return context;
}

static void *pollSet(void *context) {
  struct pollfd descriptor = {.fd = bystanders.set, .events = POLLIN};
  while (!bystanders.isOver) poll(&descriptor, 1, 1);
  return context;
}

/// A thread blocks in recv, while others poll a set in which another connection is: what arrives wakes it.
static void besidePolls(void) {
  int idle = begin("beside polls"), set = epoll_create1(EPOLL_CLOEXEC), late = 0;
  watch(set, idle);
  bystanders.set = set;
  bystanders.fd = acceptOne();
  pthread_t reader, pollers[2];
  pthread_create(&reader, NULL, readByByte, NULL);
  for (int i = 0; i < 2; i++) pthread_create(&pollers[i], NULL, pollSet, NULL);
  for (int round = 0; round < 300; round++) {
    ordered('s', 1, NULL);
    for (int i = 0; i < 200 && bystanders.received <= round; i++) usleep(1000);
    if (bystanders.received <= round) late++;
  }
  call(late, "bytes that woke nobody");
  bystanders.isOver = true;
  for (int i = 0; i < 2; i++) pthread_join(pollers[i], NULL);
  order('f', 0);
  pthread_join(reader, NULL);
  call(bystanders.received, "received");
  close(bystanders.fd);
  close(idle);
  close(set);
}

static pid_t forked;

static void forkHere(int number) {
  (void)number;
  forked = fork();
}

/// A signal handler forks, and the child returns from it into epoll_wait.
static void forkInHandler(void) {
  int fd = begin("fork in a handler"), set = epoll_create1(EPOLL_CLOEXEC), status;
  watch(set, fd);
  struct epoll_event event;
  struct sigaction action = {.sa_handler = forkHere};
  sigaction(SIGALRM, &action, NULL);
  ualarm(50000, 0);
  int result = epoll_wait(set, &event, 1, 3000);
  if (forked == 0) _exit(result < 0 ? errno : 0);
  call(result, "epoll_wait");
  if (waitpid(forked, &status, 0) != forked) die("waitpid");
  call(status, "how the child ends, which has returned as well");
  peerSends(7);
  call(epoll_wait(set, &event, 1, 3000), "epoll_wait again");
  readHere(fd, 7);
  close(set);
  close(fd);
  endOfScene();
}

static void script(void) {
  listener = makeListener(address);
  littleRoom();
  besidePolls();
  forkInHandler();
  close(listener);
}

int main(int count, char **words) { return runModel(count, words, script, NULL, 0); }
