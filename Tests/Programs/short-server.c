// A server of short connections, for counting its system calls: one thread, one epoll set; of each
// connection it reads a request, writes an answer, and closes.
//
//   short-server ADDRESS PORT [SECONDS]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

static void die(const char *what) {
  fprintf(stderr, "short-server: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void acceptAll(int listener, int set) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
  }
}

static void serve(int fd) {
  char request[4096];
  ssize_t count = read(fd, request, sizeof request);
  if (count < 0 && errno == EAGAIN) return;
  if (count > 0 && write(fd, answer, sizeof answer - 1) < 0 && errno != EPIPE) die("write");
  close(fd);
}

int main(int count, char **words) {
  if (count < 3) return 2;
  if (count > 3) alarm((unsigned)atoi(words[3]));
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[2]))};
  inet_pton(AF_INET, words[1], &local.sin_addr);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&local, sizeof local) < 0) die("bind");
  if (listen(listener, 512) < 0) die("listen");
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event events[64] = {{.events = EPOLLIN, .data = {.fd = listener}}};
  if (epoll_ctl(set, EPOLL_CTL_ADD, listener, events) < 0) die("epoll_ctl");
  for (;;) {
    int ready = epoll_wait(set, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd == listener) {
        acceptAll(listener, set);
      } else {
        serve(events[i].data.fd);
      }
    }
  }
}
