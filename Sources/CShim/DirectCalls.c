// syscall(2), which some programs use to go round libc's wrapper of the same call: libuv, and with it
// Node.js, closes its descriptors this way. A connection of an engine that ended unnoticed would be
// taken for whatever gets its number next.
#include "Interpose.h"

// Calls by name from here on are those of this library.
FS_INTERPOSE(long, syscall, (long number, long a, long b, long c, long d, long e, long f)) {
  switch (number) {
  case SYS_close: return close((int)a);
  case SYS_close_range: return close_range((unsigned)a, (unsigned)b, (int)c);
  case SYS_dup: return dup((int)a);
#ifdef SYS_dup2
  case SYS_dup2: return dup2((int)a, (int)b);
#endif
  case SYS_dup3: return dup3((int)a, (int)b, (int)c);
  case SYS_fcntl: return fcntl((int)a, (int)b, c);
  case SYS_ioctl: return ioctl((int)a, (unsigned long)b, c);
  case SYS_read: return read((int)a, (void *)b, (size_t)c);
  case SYS_write: return write((int)a, (const void *)b, (size_t)c);
  case SYS_readv: return readv((int)a, (const struct iovec *)b, (int)c);
  case SYS_writev: return writev((int)a, (const struct iovec *)b, (int)c);
  case SYS_recvmsg: return recvmsg((int)a, (struct msghdr *)b, (int)c);
  case SYS_sendmsg: return sendmsg((int)a, (const struct msghdr *)b, (int)c);
  case SYS_accept4: return accept4((int)a, (struct sockaddr *)b, (socklen_t *)c, (int)d);
  default: return next_syscall(number, a, b, c, d, e, f);
  }
}
