// Interposers: descriptor numbers.
#include "Interpose.h"

FS_INTERPOSE(int, close, (int fd)) {
  if (fs_passes(fd)) return next_close(fd);
  FS_RETURN(int, fs_close(fd), next_close(fd));
}

/// Whether a descriptor is duplicated by the kernel alone. An epoll set that has only descriptors of
/// the kernel becomes one of ours now: afterwards nobody could tell that both numbers are one set.
static bool fs_duplication_passes(int fd) {
  if (!fs_passes(fd)) return false;
  if (FS_LIKELY(!fs_bit(fs_epoll_created, fd)) || fs_thread_state()->inVforkChild) return true;
  return !fs_epoll_known(fd);
}

FS_INTERPOSE(int, dup, (int fd)) {
  if (fs_duplication_passes(fd)) return fs_fresh(next_dup(fd));
  FS_RETURN(int, fs_dup(fd), fs_fresh(next_dup(fd)));
}

/// Whether a child made by vfork duplicates a connection, for the program that it will become.
static inline bool fs_vfork_shares(int fd) {
  return fs_thread_state()->inVforkChild && fs_descriptor_kind(fd) == FS_KIND_CONNECTION;
}

FS_INTERPOSE(int, dup2, (int fd, int to)) {
  if (fs_vfork_shares(fd)) FS_RETURN(int, fs_vfork_dup3(fd, to, 0), next_dup2(fd, to));
  if (fs_duplication_passes(fd) && fs_passes(to)) return next_dup2(fd, to);
  FS_RETURN(int, fs_dup3(fd, to, 0, 1), next_dup2(fd, to));
}

FS_INTERPOSE(int, dup3, (int fd, int to, int flags)) {
  if (fs_vfork_shares(fd)) FS_RETURN(int, fs_vfork_dup3(fd, to, flags), next_dup3(fd, to, flags));
  if (fs_duplication_passes(fd) && fs_passes(to)) return next_dup3(fd, to, flags);
  FS_RETURN(int, fs_dup3(fd, to, flags, 0), next_dup3(fd, to, flags));
}

// fcntl and ioctl are variadic in C, but a third argument of word size arrives in the same register
// either way; a call without it leaves rubbish there, which is handed on and not looked at.

/// A child made by vfork lets a connection through to the program that it will become, under its own number.
static int64_t fs_vfork_keep(int fd) {
  int64_t answer = fs_vfork_dup3(fd, fd, 0);
  return answer > 0 ? 0 : answer;
}

static inline bool fs_vfork_keeps(int fd, int command, long argument) {
  return command == F_SETFD && !(argument & FD_CLOEXEC) && fs_vfork_shares(fd);
}

static inline bool fs_duplicates(int command) {
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

FS_INTERPOSE(int, fcntl, (int fd, int command, long argument)) {
  if (fs_vfork_keeps(fd, command, argument))
    FS_RETURN(int, fs_vfork_keep(fd), next_fcntl(fd, command, argument));
  if (!fs_duplicates(command)) {
    if (fs_passes(fd)) return next_fcntl(fd, command, argument);
  } else if (fs_duplication_passes(fd)) {
    return fs_fresh(next_fcntl(fd, command, argument));
  }
  FS_RETURN(int, fs_fcntl(fd, command, argument), next_fcntl(fd, command, argument));
}

FS_INTERPOSE(int, fcntl64, (int fd, int command, long argument)) {
  if (fs_vfork_keeps(fd, command, argument))
    FS_RETURN(int, fs_vfork_keep(fd), next_fcntl64(fd, command, argument));
  if (!fs_duplicates(command)) {
    if (fs_passes(fd)) return next_fcntl64(fd, command, argument);
  } else if (fs_duplication_passes(fd)) {
    return fs_fresh(next_fcntl64(fd, command, argument));
  }
  FS_RETURN(int, fs_fcntl(fd, command, argument), next_fcntl64(fd, command, argument));
}

FS_INTERPOSE(int, ioctl, (int fd, unsigned long request, long argument)) {
  if (request == FIONCLEX && fs_vfork_shares(fd))
    FS_RETURN(int, fs_vfork_keep(fd), next_ioctl(fd, request, argument));
  if (fs_passes(fd)) return next_ioctl(fd, request, argument);
  FS_RETURN(int, fs_ioctl(fd, request, (void *)argument), next_ioctl(fd, request, argument));
}

FS_INTERPOSE(int, close_range, (unsigned first, unsigned last, int flags)) {
  if (fs_thread_state()->inVforkChild) return next_close_range(first, last, flags);
  FS_RETURN(int, fs_close_range(first, last, flags), next_close_range(first, last, flags));
}

FS_INTERPOSE(void, closefrom, (int first)) {
  unsigned from = first < 0 ? 0 : (unsigned)first;
  if (fs_thread_state()->inVforkChild || fs_close_range(from, ~0u, 0) == FS_PASS)
    next_closefrom(first);
}

/// sockatmark(3) asks inside libc.
FS_INTERPOSE(int, sockatmark, (int fd)) {
  if (fs_passes(fd)) return next_sockatmark(fd);
  int isAtMark = 0;
  return fs_entry_ioctl(fd, SIOCATMARK, (long)&isAtMark) < 0 ? -1 : isAtMark;
}

// The names with underscores under which libc exports the same functions for its own libraries.

FS_INTERPOSE(int, __close, (int fd)) { return fs_entry_close(fd); }

FS_INTERPOSE(int, __dup2, (int fd, int to)) { return fs_entry_dup2(fd, to); }

FS_INTERPOSE(int, __fcntl, (int fd, int command, long argument)) {
  return fs_entry_fcntl(fd, command, argument);
}
