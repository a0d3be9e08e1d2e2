// The next definitions of the interposed symbols (libc's, or those of another preloaded library).
//
// One list names them all. Each entry of the table begins as a trampoline that resolves the whole
// table on its first call, so that a call before the constructor (from another library's
// constructor, or from .preinit_array) works and later calls cost one indirect jump.
#pragma once

// clang-format off
#define FS_NEXT_FUNCTIONS(X) \
  X(int, socket, (int domain, int type, int protocol), (domain, type, protocol)) \
  X(int, bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length)) \
  X(int, listen, (int fd, int backlog), (fd, backlog)) \
  X(int, accept, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length)) \
  X(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags)) \
  X(int, connect, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length)) \
  X(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length)) \
  X(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length)) \
  X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length), (fd, level, name, value, length)) \
  X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length), (fd, level, name, value, length)) \
  X(int, shutdown, (int fd, int how), (fd, how)) \
  X(ssize_t, read, (int fd, void *buffer, size_t count), (fd, buffer, count)) \
  X(ssize_t, readv, (int fd, const struct iovec *vectors, int count), (fd, vectors, count)) \
  X(ssize_t, preadv2, (int fd, const struct iovec *vectors, int count, off_t position, int flags), (fd, vectors, count, position, flags)) \
  X(ssize_t, recv, (int fd, void *buffer, size_t count, int flags), (fd, buffer, count, flags)) \
  X(ssize_t, recvfrom, (int fd, void *buffer, size_t count, int flags, struct sockaddr *address, socklen_t *length), (fd, buffer, count, flags, address, length)) \
  X(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags)) \
  X(int, recvmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout), (fd, messages, count, flags, timeout)) \
  X(ssize_t, write, (int fd, const void *buffer, size_t count), (fd, buffer, count)) \
  X(ssize_t, writev, (int fd, const struct iovec *vectors, int count), (fd, vectors, count)) \
  X(ssize_t, pwritev2, (int fd, const struct iovec *vectors, int count, off_t position, int flags), (fd, vectors, count, position, flags)) \
  X(ssize_t, send, (int fd, const void *buffer, size_t count, int flags), (fd, buffer, count, flags)) \
  X(ssize_t, sendto, (int fd, const void *buffer, size_t count, int flags, const struct sockaddr *address, socklen_t length), (fd, buffer, count, flags, address, length)) \
  X(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags)) \
  X(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags), (fd, messages, count, flags)) \
  X(ssize_t, sendfile, (int out, int in, off_t *offset, size_t count), (out, in, offset, count)) \
  X(ssize_t, sendfile64, (int out, int in, off_t *offset, size_t count), (out, in, offset, count)) \
  X(ssize_t, splice, (int in, loff_t *inOffset, int out, loff_t *outOffset, size_t count, unsigned flags), (in, inOffset, out, outOffset, count, flags)) \
  X(int, close, (int fd), (fd)) \
  X(int, dup, (int fd), (fd)) \
  X(int, dup2, (int old, int new), (old, new)) \
  X(int, dup3, (int old, int new, int flags), (old, new, flags)) \
  X(int, fcntl, (int fd, int command, long argument), (fd, command, argument)) \
  X(int, fcntl64, (int fd, int command, long argument), (fd, command, argument)) \
  X(int, ioctl, (int fd, unsigned long request, long argument), (fd, request, argument)) \
  X(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags)) \
  X(void, closefrom, (int first), (first)) \
  X(int, sockatmark, (int fd), (fd)) \
  X(FILE *, fdopen, (int fd, const char *mode), (fd, mode)) \
  X(int, fileno, (FILE *stream), (stream)) \
  X(int, fclose, (FILE *stream), (stream)) \
  X(int, vdprintf, (int fd, const char *format, va_list arguments), (fd, format, arguments)) \
  X(int, __vdprintf_chk, (int fd, int flag, const char *format, va_list arguments), (fd, flag, format, arguments)) \
  X(int, poll, (struct pollfd *descriptors, nfds_t count, int timeout), (descriptors, count, timeout)) \
  X(int, ppoll, (struct pollfd *descriptors, nfds_t count, const struct timespec *timeout, const sigset_t *mask), (descriptors, count, timeout, mask)) \
  X(int, select, (int limit, fd_set *reads, fd_set *writes, fd_set *exceptions, struct timeval *timeout), (limit, reads, writes, exceptions, timeout)) \
  X(int, pselect, (int limit, fd_set *reads, fd_set *writes, fd_set *exceptions, const struct timespec *timeout, const sigset_t *mask), (limit, reads, writes, exceptions, timeout, mask)) \
  X(int, epoll_create, (int size), (size)) \
  X(int, epoll_create1, (int flags), (flags)) \
  X(int, epoll_ctl, (int set, int operation, int fd, struct epoll_event *event), (set, operation, fd, event)) \
  X(int, epoll_wait, (int set, struct epoll_event *events, int capacity, int timeout), (set, events, capacity, timeout)) \
  X(int, epoll_pwait, (int set, struct epoll_event *events, int capacity, int timeout, const sigset_t *mask), (set, events, capacity, timeout, mask)) \
  X(int, epoll_pwait2, (int set, struct epoll_event *events, int capacity, const struct timespec *timeout, const sigset_t *mask), (set, events, capacity, timeout, mask)) \
  X(int, execve, (const char *path, char *const arguments[], char *const environment[]), (path, arguments, environment)) \
  X(int, execvpe, (const char *file, char *const arguments[], char *const environment[]), (file, arguments, environment)) \
  X(int, fexecve, (int fd, char *const arguments[], char *const environment[]), (fd, arguments, environment)) \
  X(int, execveat, (int directory, const char *path, char *const arguments[], char *const environment[], int flags), (directory, path, arguments, environment, flags)) \
  X(long, syscall, (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f)) \
  X(int, posix_spawn_file_actions_adddup2, (posix_spawn_file_actions_t *actions, int fd, int to), (actions, fd, to)) \
  X(int, chroot, (const char *path), (path)) \
  X(void, _exit, (int status), (status)) \
  X(void, _Exit, (int status), (status)) \
  X(void, quick_exit, (int status), (status))
// clang-format on

/// The table of next definitions.
struct fs_next {
#define X(result, name, parameters, arguments) result (*name) parameters;
  FS_NEXT_FUNCTIONS(X)
#undef X
};

extern struct fs_next fs_next_table FS_HIDDEN FS_NONISOLATED;

// next_read(...) and so on: libc's function, with errno and cancellation as ever.
#define X(result, name, parameters, arguments)                                                     \
  static inline result next_##name parameters { return fs_next_table.name arguments; }
FS_NEXT_FUNCTIONS(X)
#undef X
