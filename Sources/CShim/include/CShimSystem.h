// System calls of the shim itself.
//
// They go to the kernel directly: no errno, no cancellation, no interposed symbol, safe in a signal
// handler and in any state of libc. Each answers what the kernel does: a result, or -errno.
#pragma once

#if defined(__x86_64__)
static inline long fs_syscall(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
static inline long fs_syscall(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#else
#error "the shim knows x86-64 and AArch64"
#endif

/// Bytes of the kernel's signal set, which is smaller than libc's.
#define FS_KERNEL_SIGSET_SIZE 8

static inline int fs_sys_close(int fd) { return (int)fs_syscall(SYS_close, fd, 0, 0, 0, 0, 0); }

static inline int fs_sys_socket(int domain, int type, int protocol) {
  return (int)fs_syscall(SYS_socket, domain, type, protocol, 0, 0, 0);
}

static inline int fs_sys_connect(int fd, const void *_Nonnull address, unsigned length) {
  return (int)fs_syscall(SYS_connect, fd, (long)address, length, 0, 0, 0);
}

/// Ends a TCP connection with RST: connect(2) to AF_UNSPEC.
static inline int fs_sys_disconnect(int fd) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  return fs_sys_connect(fd, &none, sizeof none);
}

static inline int fs_sys_accept4(int fd, void *_Nullable address, socklen_t *_Nullable length,
                                 int flags) {
  return (int)fs_syscall(SYS_accept4, fd, (long)address, (long)length, flags, 0, 0);
}

static inline int fs_sys_shutdown(int fd, int how) {
  return (int)fs_syscall(SYS_shutdown, fd, how, 0, 0, 0, 0);
}

static inline int fs_sys_getsockname(int fd, void *_Nonnull address, socklen_t *_Nonnull length) {
  return (int)fs_syscall(SYS_getsockname, fd, (long)address, (long)length, 0, 0, 0);
}

static inline int fs_sys_getpeername(int fd, void *_Nonnull address, socklen_t *_Nonnull length) {
  return (int)fs_syscall(SYS_getpeername, fd, (long)address, (long)length, 0, 0, 0);
}

static inline int fs_sys_getsockopt(int fd, int level, int name, void *_Nonnull value,
                                    socklen_t *_Nonnull length) {
  return (int)fs_syscall(SYS_getsockopt, fd, level, name, (long)value, (long)length, 0);
}

static inline int fs_sys_setsockopt(int fd, int level, int name, const void *_Nullable value,
                                    unsigned length) {
  return (int)fs_syscall(SYS_setsockopt, fd, level, name, (long)value, length, 0);
}

/// Has a socket take up to `size` bytes at once, or as many as the system allows.
static inline void fs_sys_set_send_buffer(int fd, int size) {
  if (fs_sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    (void)fs_sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static inline int fs_sys_fcntl(int fd, int command, long argument) {
  return (int)fs_syscall(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

static inline int fs_sys_ioctl(int fd, unsigned long request, long argument) {
  return (int)fs_syscall(SYS_ioctl, fd, (long)request, argument, 0, 0, 0);
}

static inline int fs_sys_dup3(int old, int new, int flags) {
  return (int)fs_syscall(SYS_dup3, old, new, flags, 0, 0, 0);
}

static inline int fs_sys_dup(int fd) { return (int)fs_syscall(SYS_dup, fd, 0, 0, 0, 0, 0); }

static inline int fs_sys_close_range(unsigned first, unsigned last, unsigned flags) {
  return (int)fs_syscall(SYS_close_range, first, last, flags, 0, 0, 0);
}

static inline long fs_sys_read(int fd, void *_Nonnull buffer, unsigned long count) {
  return fs_syscall(SYS_read, fd, (long)buffer, (long)count, 0, 0, 0);
}

static inline long fs_sys_write(int fd, const void *_Nonnull buffer, unsigned long count) {
  return fs_syscall(SYS_write, fd, (long)buffer, (long)count, 0, 0, 0);
}

static inline long fs_sys_pread(int fd, void *_Nonnull buffer, unsigned long count, long offset) {
  return fs_syscall(SYS_pread64, fd, (long)buffer, (long)count, offset, 0, 0);
}

static inline long fs_sys_lseek(int fd, long offset, int whence) {
  return fs_syscall(SYS_lseek, fd, offset, whence, 0, 0, 0);
}

/// Where a regular file ends, or -1.
static inline long fs_sys_file_end(int fd) {
  struct stat status;
  if (fs_syscall(SYS_fstat, fd, (long)&status, 0, 0, 0, 0) < 0 || !S_ISREG(status.st_mode)) return -1;
  return status.st_size;
}

/// Takes (F_WRLCK), with waiting, or gives back (F_UNLCK) the process's lock of a file.
static inline int fs_sys_lock_file(int fd, short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
  return fs_sys_fcntl(fd, F_SETLKW, (long)&lock);
}

static inline int fs_sys_getpid(void) { return (int)fs_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0); }

static inline int fs_sys_gettid(void) { return (int)fs_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0); }

/// The CPU the calling thread runs on.
static inline int fs_sys_current_cpu(void) {
  unsigned cpu = 0;
  return fs_syscall(SYS_getcpu, (long)&cpu, 0, 0, 0, 0, 0) < 0 ? 0 : (int)cpu;
}

/// Binds the calling thread to a processor.
static inline int fs_sys_bind_thread(unsigned cpu) {
  unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
  if (cpu >= 1024) return -EINVAL;
  mask[cpu / (8 * sizeof *mask)] = 1ul << cpu % (8 * sizeof *mask);
  return (int)fs_syscall(SYS_sched_setaffinity, 0, sizeof mask, (long)mask, 0, 0, 0);
}

static inline int fs_sys_eventfd(unsigned value, int flags) {
  return (int)fs_syscall(SYS_eventfd2, value, flags, 0, 0, 0, 0);
}

/// Adds one to an eventfd: wakes whoever waits for it.
static inline void fs_sys_ring(int eventfd) {
  unsigned long long one = 1;
  (void)fs_syscall(SYS_write, eventfd, (long)&one, sizeof one, 0, 0, 0);
}

/// Takes an eventfd's count, so that it is readable no more. It must be non-blocking.
static inline void fs_sys_unring(int eventfd) {
  unsigned long long count;
  (void)fs_syscall(SYS_read, eventfd, (long)&count, sizeof count, 0, 0, 0);
}

static inline int fs_sys_epoll_create(int flags) {
  return (int)fs_syscall(SYS_epoll_create1, flags, 0, 0, 0, 0, 0);
}

static inline int fs_sys_epoll_ctl(int set, int operation, int fd, unsigned events,
                                   unsigned long long data) {
  struct epoll_event event = {.events = events, .data = {.u64 = data}};
  return (int)fs_syscall(SYS_epoll_ctl, set, operation, fd, (long)&event, 0, 0);
}

/// Looks at an epoll set without waiting.
static inline int fs_sys_epoll_look(int set, struct epoll_event *_Nonnull events, int capacity) {
  return (int)fs_syscall(SYS_epoll_pwait, set, (long)events, capacity, 0, 0,
                         FS_KERNEL_SIGSET_SIZE);
}

static inline int fs_sys_ppoll(struct pollfd *_Nullable descriptors, unsigned long count,
                               struct timespec *_Nullable timeout) {
  return (int)fs_syscall(SYS_ppoll, (long)descriptors, (long)count, (long)timeout, 0,
                         FS_KERNEL_SIGSET_SIZE, 0);
}

static inline long fs_sys_futex_wait(unsigned *_Nonnull word, unsigned value) {
  return fs_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0, 0, 0);
}

static inline long fs_sys_futex_wake(unsigned *_Nonnull word, int count) {
  return fs_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}

/// Memory of the process's own, zeroed; only what is touched costs anything. Null when there is
/// none.
static inline void *_Nullable fs_sys_map_private(unsigned long length) {
  long result = fs_syscall(SYS_mmap, 0, (long)length, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return result < 0 && result > -4096 ? 0 : (void *)result;
}

/// The memory of a descriptor, shared. Null when it cannot be mapped.
static inline void *_Nullable fs_sys_map_shared(int fd, unsigned long length) {
  long result = fs_syscall(SYS_mmap, 0, (long)length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return result < 0 && result > -4096 ? 0 : (void *)result;
}

static inline int fs_sys_unmap(void *_Nonnull address, unsigned long length) {
  return (int)fs_syscall(SYS_munmap, (long)address, (long)length, 0, 0, 0, 0);
}

static inline int fs_sys_madvise(void *_Nonnull address, unsigned long length, int advice) {
  return (int)fs_syscall(SYS_madvise, (long)address, (long)length, advice, 0, 0, 0);
}

/// Largest number of descriptors one control message carries.
#define FS_DESCRIPTORS_PER_MESSAGE 4

/// Sends `count` bytes and, when `descriptor` is not negative, that descriptor beside them.
static inline long fs_sys_send_descriptor(int fd, const void *_Nonnull bytes, unsigned long count,
                                          int descriptor, int flags) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (descriptor >= 0) {
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    __builtin_memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
  }
  return fs_syscall(SYS_sendmsg, fd, (long)&message, flags | MSG_NOSIGNAL, 0, 0, 0);
}

/// Receives one message of at most `capacity` bytes and the descriptors beside it, close-on-exec;
/// `descriptors` has room for FS_DESCRIPTORS_PER_MESSAGE, `*descriptorCount` says how many came.
static inline long fs_sys_receive_descriptors(int fd, void *_Nonnull bytes, unsigned long capacity,
                                              int *_Nonnull descriptors,
                                              int *_Nonnull descriptorCount, int flags) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(FS_DESCRIPTORS_PER_MESSAGE * sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = bytes, .iov_len = capacity};
  struct msghdr message = {.msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  *descriptorCount = 0;
  long result =
      fs_syscall(SYS_recvmsg, fd, (long)&message, flags | MSG_CMSG_CLOEXEC, 0, 0, 0);
  if (result < 0) return result;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (count > FS_DESCRIPTORS_PER_MESSAGE) count = FS_DESCRIPTORS_PER_MESSAGE;
    __builtin_memcpy(descriptors, CMSG_DATA(header), (unsigned long)count * sizeof(int));
    *descriptorCount = count;
  }
  return result;
}

static inline long fs_sys_send(int fd, const void *_Nonnull bytes, unsigned long count, int flags) {
  return fs_syscall(SYS_sendto, fd, (long)bytes, (long)count, flags | MSG_NOSIGNAL, 0, 0);
}

static inline int fs_sys_bind(int fd, const void *_Nullable address, unsigned length) {
  return (int)fs_syscall(SYS_bind, fd, (long)address, length, 0, 0, 0);
}

static inline int fs_sys_listen(int fd, int backlog) {
  return (int)fs_syscall(SYS_listen, fd, backlog, 0, 0, 0, 0);
}

static inline void fs_sys_yield(void) { (void)fs_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0); }

/// Sleeps so many nanoseconds, fewer than a second.
static inline void fs_sys_pause_for(long nanoseconds) {
  struct timespec limit = {0, nanoseconds};
  (void)fs_sys_ppoll(0, 0, &limit);
}

/// Sends a signal to a process, or with a negative number to a process group.
static inline void fs_sys_kill(int process, int signal) {
  (void)fs_syscall(SYS_kill, process, signal, 0, 0, 0, 0);
}

/// Sends a signal to the calling thread, as the kernel does with SIGPIPE.
static inline void fs_sys_raise(int signal) {
  (void)fs_syscall(SYS_tgkill, fs_sys_getpid(), fs_sys_gettid(), signal, 0, 0, 0);
}

/// Whether `events` of poll(2) are there now.
static inline int fs_sys_poll_now(int fd, short events) {
  struct pollfd descriptor = {.fd = fd, .events = events};
  struct timespec none = {0, 0};
  return fs_sys_ppoll(&descriptor, 1, &none) > 0 ? descriptor.revents : 0;
}

/// Waits for `events` of poll(2), at most so many milliseconds: 1, 0 or -errno.
static inline int fs_sys_poll_for(int fd, short events, long milliseconds) {
  struct pollfd descriptor = {.fd = fd, .events = events};
  struct timespec limit = {milliseconds / 1000, (milliseconds % 1000) * 1000000};
  return fs_sys_ppoll(&descriptor, 1, &limit);
}

/// The soft limit of descriptors.
static inline unsigned long fs_sys_descriptor_limit(void) {
  struct {
    unsigned long soft, hard;
  } limit = {1024, 1024};
  (void)fs_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0);
  return limit.soft;
}

/// Waits while the word has this value, at most so many nanoseconds.
static inline long fs_sys_futex_wait_for(unsigned *_Nonnull word, unsigned value,
                                         long nanoseconds) {
  struct timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return fs_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&limit, 0, 0);
}

/// Whether a thread of this process has this number.
static inline int fs_sys_thread_exists(unsigned thread) {
  return fs_syscall(SYS_tgkill, fs_sys_getpid(), thread, 0, 0, 0, 0) == 0;
}

/// Reads from a position into several pieces of memory.
static inline long fs_sys_preadv(int fd, const struct iovec *_Nonnull vectors, int count,
                                 long offset) {
  return fs_syscall(SYS_preadv, fd, (long)vectors, count, offset, 0, 0);
}
