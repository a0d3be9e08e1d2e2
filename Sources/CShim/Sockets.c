// Interposers: making sockets and what is asked of them.
#include "Interpose.h"

/// Whether socket(2) with these arguments makes a TCP socket.
static bool fs_is_tcp(int domain, int type, int protocol) {
  return (domain == AF_INET || domain == AF_INET6) &&
         (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
         (protocol == 0 || protocol == IPPROTO_TCP);
}

FS_INTERPOSE(int, socket, (int domain, int type, int protocol)) {
  if (!fs_is_tcp(domain, type, protocol) || fs_thread_state()->inVforkChild)
    return fs_fresh(next_socket(domain, type, protocol));
  FS_RETURN(int, fs_socket(domain, type, protocol), fs_fresh(next_socket(domain, type, protocol)));
}

FS_INTERPOSE(int, bind, (int fd, const struct sockaddr *address, socklen_t length)) {
  if (fs_passes(fd)) return next_bind(fd, address, length);
  FS_RETURN(int, fs_bind(fd, address, length), next_bind(fd, address, length));
}

FS_INTERPOSE(int, listen, (int fd, int backlog)) {
  if (fs_passes(fd)) return next_listen(fd, backlog);
  FS_RETURN(int, fs_listen(fd, backlog), next_listen(fd, backlog));
}

FS_INTERPOSE(int, accept, (int fd, struct sockaddr *address, socklen_t *length)) {
  if (fs_passes(fd)) return fs_fresh(next_accept(fd, address, length));
  FS_RETURN(int, fs_accept(fd, address, length, 0), fs_fresh(next_accept(fd, address, length)));
}

FS_INTERPOSE(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags)) {
  if (fs_passes(fd)) return fs_fresh(next_accept4(fd, address, length, flags));
  FS_RETURN(int, fs_accept(fd, address, length, flags),
            fs_fresh(next_accept4(fd, address, length, flags)));
}

FS_INTERPOSE(int, connect, (int fd, const struct sockaddr *address, socklen_t length)) {
  if (fs_passes(fd)) return next_connect(fd, address, length);
  FS_RETURN(int, fs_connect(fd, address, length), next_connect(fd, address, length));
}

FS_INTERPOSE(int, __connect, (int fd, const struct sockaddr *address, socklen_t length)) {
  return fs_entry_connect(fd, address, length);
}

FS_INTERPOSE(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length)) {
  if (fs_passes(fd)) return next_getsockname(fd, address, length);
  FS_RETURN(int, fs_getsockname(fd, address, length), next_getsockname(fd, address, length));
}

FS_INTERPOSE(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length)) {
  if (fs_passes(fd)) return next_getpeername(fd, address, length);
  FS_RETURN(int, fs_getpeername(fd, address, length), next_getpeername(fd, address, length));
}

FS_INTERPOSE(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length)) {
  if (fs_passes(fd)) return next_getsockopt(fd, level, name, value, length);
  FS_RETURN(int, fs_getsockopt(fd, level, name, value, length),
            next_getsockopt(fd, level, name, value, length));
}

FS_INTERPOSE(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length)) {
  if (fs_passes(fd)) return next_setsockopt(fd, level, name, value, length);
  FS_RETURN(int, fs_setsockopt(fd, level, name, value, length),
            next_setsockopt(fd, level, name, value, length));
}

FS_INTERPOSE(int, shutdown, (int fd, int how)) {
  if (fs_passes(fd)) return next_shutdown(fd, how);
  FS_RETURN(int, fs_shutdown(fd, how), next_shutdown(fd, how));
}
