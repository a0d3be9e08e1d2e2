// Compares what calls do to sockets that are not connected, or not yet, with the kernel: the socket itself, and the
// next one, which may be the same of the kernel's.
//
//     unconnected-model [--address ADDRESS [--netns NAME]] [--verbose]
#include "scenes.h"

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
  close(listener);
}

int main(int count, char **words) { return runModel(count, words, script, NULL, 0); }
