// What the Swift half does for the interposers: descriptors, sockets, data.
//
// Each answers the result of its libc namesake, or minus errno, or FS_PASS when the descriptor is
// none of ours after all: then libc's function has to be called. None touches errno.
#pragma once

/// Not ours: call the next definition.
#define FS_PASS (INT64_MIN / 2)

int64_t fs_socket(int domain, int type, int protocol);
int64_t fs_bind(int fd, const struct sockaddr *_Nullable address, socklen_t length);
int64_t fs_listen(int fd, int backlog);
/// accept and accept4.
int64_t fs_accept(int fd, struct sockaddr *_Nullable address, socklen_t *_Nullable length,
                  int flags);
int64_t fs_connect(int fd, const struct sockaddr *_Nullable address, socklen_t length);

int64_t fs_read(int fd, void *_Nullable buffer, size_t count);
int64_t fs_readv(int fd, const struct iovec *_Nullable vectors, int count);
int64_t fs_recvfrom(int fd, void *_Nullable buffer, size_t count, int flags,
                    struct sockaddr *_Nullable address, socklen_t *_Nullable length);
int64_t fs_recvmsg(int fd, struct msghdr *_Nullable message, int flags);
int64_t fs_write(int fd, const void *_Nullable buffer, size_t count);
int64_t fs_writev(int fd, const struct iovec *_Nullable vectors, int count);
int64_t fs_sendto(int fd, const void *_Nullable buffer, size_t count, int flags,
                  const struct sockaddr *_Nullable address, socklen_t length);
int64_t fs_sendmsg(int fd, const struct msghdr *_Nullable message, int flags);
int64_t fs_sendfile(int out, int in, int64_t *_Nullable offset, size_t count);
/// splice, tee, vmsplice, copy_file_range: -EINVAL when one end is accelerated.
int64_t fs_splice(int in, int out);

int64_t fs_shutdown(int fd, int how);
/// FS_PASS: the entry is cleared; close the kernel's descriptor.
int64_t fs_close(int fd);
/// close_range and closefrom, completely.
int64_t fs_close_range(unsigned first, unsigned last, int flags);
int64_t fs_dup(int fd);
/// dup2 (`isDup2`) and dup3.
int64_t fs_dup3(int fd, int to, int flags, int isDup2);
int64_t fs_fcntl(int fd, int command, long argument);
int64_t fs_ioctl(int fd, unsigned long request, void *_Nullable argument);
int64_t fs_getsockopt(int fd, int level, int name, void *_Nullable value,
                      socklen_t *_Nullable length);
int64_t fs_setsockopt(int fd, int level, int name, const void *_Nullable value, socklen_t length);
int64_t fs_getsockname(int fd, struct sockaddr *_Nullable address, socklen_t *_Nullable length);
int64_t fs_getpeername(int fd, struct sockaddr *_Nullable address, socklen_t *_Nullable length);

/// libc has made a descriptor: whatever the number stood for is gone.
void fs_descriptor_created(int fd);

/// A descriptor has come from another process, by exec or beside a message: if it listens, engines
/// may bring its connections.
void fs_descriptor_arrived(int fd);
/// Likewise for one that came beside a message.
void fs_rights_received(int fd);

/// A descriptor is about to be given to another process: it has to be the kernel's.
void fs_descriptor_leaves(int fd);
/// dup2 and dup3 of a connection in a child made by vfork, which shares its parent's memory but not its
/// descriptors.
int64_t fs_vfork_dup3(int fd, int to, int flags);

/// From the constructor, once.
void fs_initialize(void);
/// The process ends in good order.
void fs_finalize(void);

// From the handlers that `fs_register_handlers` installs.
void fs_thread_ends(void);
void fs_fork_prepare(void);
void fs_fork_parent(void);
void fs_fork_child(void);

/// Another program is about to be run: what it shall inherit has to be the kernel's.
void fs_before_exec(void);

/// chroot is about to hide the daemon's socket: connect to it now, if there are listeners.
void fs_before_chroot(void);
