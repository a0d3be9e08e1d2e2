// Scenes: what is done to one connection, and what of it is observed at this end and at the peer's.
#include "model.h"

static const char *scene = "";
/// Bytes of the pattern that have gone each way on the connection of the scene.
static unsigned sentOffset, receivedOffset;

#define call(expression, ...)                                                                      \
  do {                                                                                             \
    long answer = (expression);                                                                    \
    int error = answer < -1 ? (int)-answer : errno;                                                \
    char words[80];                                                                                \
    snprintf(words, sizeof words, __VA_ARGS__);                                                    \
    observe(answer, error, NULL, 0, "%s: %s", scene, words);                                       \
  } while (0)

static int begin(const char *name) {
  scene = name;
  sentOffset = receivedOffset = 0;
  int fd = acceptOne();
  patience(fd, 3);
  return fd;
}

static int orderPattern(char what, int count, unsigned offset) {
  struct order order = {.what = what, .argument = count, .offset = offset};
  int result = 0;
  if (write(orders, &order, sizeof order) != sizeof order ||
      read(orders, &result, sizeof result) != sizeof result)
    die("the remote end");
  return result;
}

/// The peer sends; the bytes are given time to arrive.
static void peerSends(int count) {
  call(orderPattern('p', count, receivedOffset), "the peer sends %d", count);
  settle();
}

/// The peer has to find `count` bytes that were sent here.
static void peerReads(int count) {
  call(orderPattern('v', count, sentOffset), "the peer reads %d", count);
  sentOffset += (unsigned)count;
}

__attribute__((unused)) static void peerSees(const char *when) {
  settle();
  call(order('n', 0), "what the peer sees %s", when);
}

static void readHere(int fd, int count) {
  int result = verifyPattern(fd, count, receivedOffset);
  call(result, "read of %d here", count);
  if (result > 0) receivedOffset += (unsigned)result;
}

__attribute__((unused)) static void writeHere(int fd, int count) {
  call(sendPattern(fd, count, sentOffset), "write of %d here", count);
  peerReads(count);
}

static void endOfScene(void) {
  call(order('e', 0), "how it ends for the peer");
  order('x', 0);
}
