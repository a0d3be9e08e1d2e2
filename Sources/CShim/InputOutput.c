// Interposers: bytes in and out.
#include "Interpose.h"

// MARK: In

FS_INTERPOSE(ssize_t, read, (int fd, void *buffer, size_t count)) {
  if (fs_data_passes(fd)) return next_read(fd, buffer, count);
  FS_RETURN(ssize_t, fs_read(fd, buffer, count), next_read(fd, buffer, count));
}

FS_INTERPOSE(ssize_t, __read_chk, (int fd, void *buffer, size_t count, size_t capacity)) {
  if (count > capacity) __chk_fail();
  return fs_entry_read(fd, buffer, count);
}

FS_INTERPOSE(ssize_t, readv, (int fd, const struct iovec *vectors, int count)) {
  if (fs_data_passes(fd)) return next_readv(fd, vectors, count);
  FS_RETURN(ssize_t, fs_readv(fd, vectors, count), next_readv(fd, vectors, count));
}

FS_INTERPOSE(ssize_t, __read, (int fd, void *buffer, size_t count)) {
  return fs_entry_read(fd, buffer, count);
}

FS_INTERPOSE(ssize_t, recv, (int fd, void *buffer, size_t count, int flags)) {
  if (fs_data_passes(fd)) return next_recv(fd, buffer, count, flags);
  FS_RETURN(ssize_t, fs_recvfrom(fd, buffer, count, flags, NULL, NULL),
            next_recv(fd, buffer, count, flags));
}

FS_INTERPOSE(ssize_t, __recv_chk, (int fd, void *buffer, size_t count, size_t capacity, int flags)) {
  if (count > capacity) __chk_fail();
  return fs_entry_recv(fd, buffer, count, flags);
}

FS_INTERPOSE(ssize_t, recvfrom,
             (int fd, void *buffer, size_t count, int flags, struct sockaddr *address,
              socklen_t *length)) {
  if (fs_data_passes(fd)) return next_recvfrom(fd, buffer, count, flags, address, length);
  FS_RETURN(ssize_t, fs_recvfrom(fd, buffer, count, flags, address, length),
            next_recvfrom(fd, buffer, count, flags, address, length));
}

FS_INTERPOSE(ssize_t, __recvfrom_chk,
             (int fd, void *buffer, size_t count, size_t capacity, int flags,
              struct sockaddr *address, socklen_t *length)) {
  if (count > capacity) __chk_fail();
  return fs_entry_recvfrom(fd, buffer, count, flags, address, length);
}

/// Calls `visit` for each descriptor that is beside a message (SCM_RIGHTS).
static void fs_each_right(const struct msghdr *message, void (*visit)(int fd)) {
  if (message->msg_controllen == 0 || fs_thread_state()->inVforkChild) return;
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  for (; header; header = CMSG_NXTHDR((struct msghdr *)message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t position = 0; position < count; position++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + position * sizeof fd, sizeof fd);
      visit(fd);
    }
  }
}

/// A descriptor has come beside a message: a listening socket is one for engines, too.
static void fs_right_arrived(int fd) { fs_rights_received(fs_fresh(fd)); }

/// A descriptor is sent beside a message: it has to be the kernel's.
static void fs_right_leaves(int fd) {
  if (!fs_is_plain(fd)) fs_descriptor_leaves(fd);
}

FS_INTERPOSE(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags)) {
  if (fs_data_passes(fd)) {
    ssize_t length = next_recvmsg(fd, message, flags);
    if (length >= 0) fs_each_right(message, fs_right_arrived);
    return length;
  }
  FS_RETURN(ssize_t, fs_recvmsg(fd, message, flags), next_recvmsg(fd, message, flags));
}

/// Most vectors of one call: UIO_MAXIOV of Linux.
#define FS_MOST_VECTORS 1024

/// The flags of preadv2 and pwritev2 that mean something, or nothing, on a socket; for others Linux
/// answers EOPNOTSUPP: RWF_HIPRI to RWF_NOAPPEND of linux/fs.h.
#define FS_STREAM_FLAGS 0x3f

/// preadv2 and pwritev2 with a position; without one (-1) they are readv and writev, and RWF_NOWAIT
/// is MSG_DONTWAIT. A socket has no position: ESPIPE, which the kernel's says itself, as it does for
/// pread, pwrite, preadv and pwritev.
static inline bool fs_has_position(off_t position) { return position != -1; }

/// What preadv2 and pwritev2 hand to recvmsg and sendmsg; -errno if they may not.
static int64_t fs_stream_flags(const struct iovec *vectors, int count, int flags) {
  if (count < 0 || count > FS_MOST_VECTORS || (count > 0 && !vectors)) return -EINVAL;
  if (flags & ~FS_STREAM_FLAGS) return -EOPNOTSUPP;
  return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

/// Whether vectors hold no byte: then readv and writev do nothing, and recvmsg and sendmsg something.
static bool fs_are_empty(const struct iovec *vectors, int count) {
  for (int i = 0; i < count; i++)
    if (vectors[i].iov_len) return false;
  return true;
}

FS_INTERPOSE(ssize_t, preadv2,
             (int fd, const struct iovec *vectors, int count, off_t position, int flags)) {
  if (fs_data_passes(fd) || fs_has_position(position))
    return next_preadv2(fd, vectors, count, position, flags);
  int64_t converted = fs_stream_flags(vectors, count, flags);
  if (converted < 0) return fs_conclude(converted);
  if (fs_are_empty(vectors, count)) return fs_entry_readv(fd, vectors, count);
  struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
  return fs_entry_recvmsg(fd, &message, (int)converted);
}

FS_INTERPOSE(ssize_t, preadv64v2,
             (int fd, const struct iovec *vectors, int count, off_t position, int flags)) {
  return fs_entry_preadv2(fd, vectors, count, position, flags);
}

/// One receive after the other, as the kernel does it: an error after the first message is kept for
/// the next call, and MSG_WAITFORONE makes the rest non-blocking. The timeout is looked at only
/// between messages, which the manual calls a bug of the original.
FS_INTERPOSE(int, recvmmsg,
             (int fd, struct mmsghdr *messages, unsigned count, int flags,
              struct timespec *timeout)) {
  if (fs_data_passes(fd)) {
    int received = next_recvmmsg(fd, messages, count, flags, timeout);
    for (int position = 0; position < received; position++)
      fs_each_right(&messages[position].msg_hdr, fs_right_arrived);
    return received;
  }
  struct timespec now;
  int64_t deadline = INT64_MAX;
  if (timeout) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    deadline = (now.tv_sec + timeout->tv_sec) * 1000000000 + now.tv_nsec + timeout->tv_nsec;
  }
  unsigned done = 0;
  while (done < count) {
    ssize_t length = fs_entry_recvmsg(fd, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
    if (length < 0) return done ? (int)done : -1;
    messages[done++].msg_len = (unsigned)length;
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    if (!timeout) continue;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec * 1000000000 + now.tv_nsec >= deadline) break;
  }
  return (int)done;
}

// MARK: Out

/// Whether sending with these flags is none of the shim's business. MSG_FASTOPEN connects: a socket that is not
/// decided yet becomes the kernel's.
static inline bool fs_send_passes(int fd, int flags) {
  if (!fs_data_passes(fd)) return false;
  if (flags & MSG_FASTOPEN && !fs_passes(fd)) fs_descriptor_leaves(fd);
  return true;
}

FS_INTERPOSE(ssize_t, write, (int fd, const void *buffer, size_t count)) {
  if (fs_data_passes(fd)) return next_write(fd, buffer, count);
  FS_RETURN(ssize_t, fs_write(fd, buffer, count), next_write(fd, buffer, count));
}

FS_INTERPOSE(ssize_t, writev, (int fd, const struct iovec *vectors, int count)) {
  if (fs_data_passes(fd)) return next_writev(fd, vectors, count);
  FS_RETURN(ssize_t, fs_writev(fd, vectors, count), next_writev(fd, vectors, count));
}

FS_INTERPOSE(ssize_t, __write, (int fd, const void *buffer, size_t count)) {
  return fs_entry_write(fd, buffer, count);
}

FS_INTERPOSE(ssize_t, send, (int fd, const void *buffer, size_t count, int flags)) {
  if (fs_send_passes(fd, flags)) return next_send(fd, buffer, count, flags);
  FS_RETURN(ssize_t, fs_sendto(fd, buffer, count, flags, NULL, 0),
            next_send(fd, buffer, count, flags));
}

FS_INTERPOSE(ssize_t, __send, (int fd, const void *buffer, size_t count, int flags)) {
  return fs_entry_send(fd, buffer, count, flags);
}

FS_INTERPOSE(ssize_t, sendto,
             (int fd, const void *buffer, size_t count, int flags, const struct sockaddr *address,
              socklen_t length)) {
  if (fs_send_passes(fd, flags)) return next_sendto(fd, buffer, count, flags, address, length);
  FS_RETURN(ssize_t, fs_sendto(fd, buffer, count, flags, address, length),
            next_sendto(fd, buffer, count, flags, address, length));
}

FS_INTERPOSE(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags)) {
  if (fs_send_passes(fd, flags)) {
    if (message) fs_each_right(message, fs_right_leaves);
    return next_sendmsg(fd, message, flags);
  }
  FS_RETURN(ssize_t, fs_sendmsg(fd, message, flags), next_sendmsg(fd, message, flags));
}

FS_INTERPOSE(ssize_t, pwritev2,
             (int fd, const struct iovec *vectors, int count, off_t position, int flags)) {
  if (fs_data_passes(fd) || fs_has_position(position))
    return next_pwritev2(fd, vectors, count, position, flags);
  int64_t converted = fs_stream_flags(vectors, count, flags);
  if (converted < 0) return fs_conclude(converted);
  if (fs_are_empty(vectors, count)) return fs_entry_writev(fd, vectors, count);
  struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
  return fs_entry_sendmsg(fd, &message, (int)converted);
}

FS_INTERPOSE(ssize_t, pwritev64v2,
             (int fd, const struct iovec *vectors, int count, off_t position, int flags)) {
  return fs_entry_pwritev2(fd, vectors, count, position, flags);
}

FS_INTERPOSE(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags)) {
  if (fs_send_passes(fd, flags)) {
    for (unsigned position = 0; position < count; position++)
      fs_each_right(&messages[position].msg_hdr, fs_right_leaves);
    return next_sendmmsg(fd, messages, count, flags);
  }
  unsigned done = 0;
  while (done < count) {
    ssize_t length = fs_entry_sendmsg(fd, &messages[done].msg_hdr, flags);
    if (length < 0) return done ? (int)done : -1;
    messages[done++].msg_len = (unsigned)length;
  }
  return (int)done;
}

FS_INTERPOSE(ssize_t, sendfile, (int out, int in, off_t *offset, size_t count)) {
  if (fs_data_passes(out) && fs_data_passes(in)) return next_sendfile(out, in, offset, count);
  FS_RETURN(ssize_t, fs_sendfile(out, in, (int64_t *)offset, count),
            next_sendfile(out, in, offset, count));
}

FS_INTERPOSE(ssize_t, sendfile64, (int out, int in, off_t *offset, size_t count)) {
  if (fs_data_passes(out) && fs_data_passes(in)) return next_sendfile64(out, in, offset, count);
  FS_RETURN(ssize_t, fs_sendfile(out, in, (int64_t *)offset, count),
            next_sendfile64(out, in, offset, count));
}

FS_INTERPOSE(ssize_t, splice,
             (int in, loff_t *inOffset, int out, loff_t *outOffset, size_t count,
              unsigned flags)) {
  if (fs_data_passes(in) && fs_data_passes(out))
    return next_splice(in, inOffset, out, outOffset, count, flags);
  FS_RETURN(ssize_t, fs_splice(in, out), next_splice(in, inOffset, out, outOffset, count, flags));
}
