// Interposers: waiting for readiness.
#include "Interpose.h"

uint64_t fs_epoll_created[FS_DESCRIPTOR_LIMIT / 64];
uint32_t fs_epoll_sleeper_counts[FS_EPOLL_SLEEPER_COUNTS];
void *fs_readiness_memory;

/// Descriptors for which fs_poll gets its scratch from the stack; for more it is mapped.
#define FS_POLL_ON_STACK 256

// MARK: epoll

static int fs_epoll_fresh(int fd) {
  if (fd < 0) return fd;
  fs_bit_set(fs_epoll_created, fd);
  return fs_fresh(fd);
}

FS_INTERPOSE(int, epoll_create, (int size)) { return fs_epoll_fresh(next_epoll_create(size)); }

FS_INTERPOSE(int, epoll_create1, (int flags)) { return fs_epoll_fresh(next_epoll_create1(flags)); }

/// Whether the kernel alone carries out an operation on a set. A set that is added to another becomes one
/// of ours now, as that does: one of them may get a descriptor of ours later.
static bool fs_epoll_control_passes(int set, int operation, int fd) {
  bool isSet = operation == EPOLL_CTL_ADD && fs_bit(fs_epoll_created, fd) && fs_passes(fd);
  if (FS_LIKELY(!isSet) || fs_thread_state()->inVforkChild || !fs_epoll_known(fd))
    return fs_passes(set) && fs_passes(fd);
  return false;
}

FS_INTERPOSE(int, epoll_ctl, (int set, int operation, int fd, struct epoll_event *event)) {
  if (fs_epoll_control_passes(set, operation, fd)) return next_epoll_ctl(set, operation, fd, event);
  FS_RETURN(int, fs_epoll_ctl(set, operation, fd, event),
            next_epoll_ctl(set, operation, fd, event));
}

/// When a wait of so many nanoseconds (negative: for ever) is over.
static uint64_t fs_epoll_deadline(int64_t nanoseconds) {
  return nanoseconds < 0 ? UINT64_MAX : fs_now() + (uint64_t)nanoseconds;
}

/// Calls libc's function, in which the thread sleeps, for a set that the kernel alone serves. Another
/// thread may meanwhile put a descriptor of ours into it; then what was found is not all, and may
/// not all be the application's.
#define FS_EPOLL_SLEEP(set, events, capacity, nanoseconds, mask, next)                             \
  do {                                                                                             \
    if ((nanoseconds) == 0 || fs_thread_state()->inVforkChild) return (next);                      \
    uint64_t deadline = fs_epoll_deadline(nanoseconds);                                            \
    fs_epoll_sleepers_add(set, 1);                                                                 \
    /* It may have happened just now. */                                                           \
    int found = FS_LIKELY(fs_is_plain(set)) ? (next) : 0;                                          \
    fs_epoll_sleepers_add(set, ~0u);                                                               \
    if (FS_LIKELY(fs_is_plain(set)) || found < 0) return found;                                    \
    FS_RETURN(int, fs_epoll_waited(set, events, capacity, found, deadline, mask), found);          \
  } while (0)

FS_INTERPOSE(int, epoll_wait, (int set, struct epoll_event *events, int capacity, int timeout)) {
  int64_t nanoseconds = timeout < 0 ? -1 : (int64_t)timeout * 1000000;
  if (fs_passes(set))
    FS_EPOLL_SLEEP(set, events, capacity, nanoseconds, NULL,
                   next_epoll_wait(set, events, capacity, timeout));
  FS_RETURN(int, fs_epoll_wait(set, events, capacity, nanoseconds, NULL),
            next_epoll_wait(set, events, capacity, timeout));
}

FS_INTERPOSE(int, epoll_pwait,
             (int set, struct epoll_event *events, int capacity, int timeout,
              const sigset_t *mask)) {
  int64_t nanoseconds = timeout < 0 ? -1 : (int64_t)timeout * 1000000;
  if (fs_passes(set))
    FS_EPOLL_SLEEP(set, events, capacity, nanoseconds, mask,
                   next_epoll_pwait(set, events, capacity, timeout, mask));
  FS_RETURN(int, fs_epoll_wait(set, events, capacity, nanoseconds, mask),
            next_epoll_pwait(set, events, capacity, timeout, mask));
}

/// Nanoseconds of a timeout, -1 for none, -2 for one that is not a time. A time beyond what 64 bits
/// of nanoseconds hold (292 years) is cut.
static int64_t fs_nanoseconds(const struct timespec *time) {
  if (!time) return -1;
  if (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= 1000000000) return -2;
  if (time->tv_sec >= INT64_MAX / 1000000000 - 1) return INT64_MAX;
  return time->tv_sec * 1000000000 + time->tv_nsec;
}

FS_INTERPOSE(int, epoll_pwait2,
             (int set, struct epoll_event *events, int capacity, const struct timespec *timeout,
              const sigset_t *mask)) {
  int64_t nanoseconds = fs_nanoseconds(timeout);
  if (fs_passes(set))
    FS_EPOLL_SLEEP(set, events, capacity, nanoseconds, mask,
                   next_epoll_pwait2(set, events, capacity, timeout, mask));
  if (nanoseconds == -2) return (int)fs_conclude(-EINVAL);
  FS_RETURN(int, fs_epoll_wait(set, events, capacity, nanoseconds, mask),
            next_epoll_pwait2(set, events, capacity, timeout, mask));
}

// MARK: poll

static bool fs_all_plain(const struct pollfd *descriptors, nfds_t count) {
  if (!descriptors) return true;
  for (nfds_t i = 0; i < count; i++)
    if (!fs_is_plain(descriptors[i].fd)) return fs_thread_state()->inVforkChild;
  return true;
}

/// fs_poll with its scratch, from the stack or mapped. `*waited` says whether it has waited.
static int64_t fs_poll_with_scratch(struct pollfd *descriptors, size_t count, int64_t timeout,
                                    const sigset_t *mask, bool *waited) {
  if (count < FS_POLL_ON_STACK) {
    struct pollfd scratch[FS_POLL_ON_STACK];
    scratch[count].revents = 0;
    int64_t answer = fs_poll(descriptors, count, timeout, mask, scratch);
    *waited = scratch[count].revents != 0;
    return answer;
  }
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && count > limit.rlim_cur) return -EINVAL;
  size_t size = (count + 1) * sizeof *descriptors;
  struct pollfd *scratch = fs_sys_map_private(size);
  if (!scratch) return -ENOMEM;
  int64_t answer = fs_poll(descriptors, count, timeout, mask, scratch);
  *waited = scratch[count].revents != 0;
  fs_sys_unmap(scratch, size);
  return answer;
}

FS_INTERPOSE(int, poll, (struct pollfd *descriptors, nfds_t count, int timeout)) {
  if (fs_all_plain(descriptors, count)) return next_poll(descriptors, count, timeout);
  int64_t nanoseconds = timeout < 0 ? -1 : (int64_t)timeout * 1000000;
  bool waited;
  return (int)fs_conclude(fs_poll_with_scratch(descriptors, count, nanoseconds, NULL, &waited));
}

FS_INTERPOSE(int, __poll, (struct pollfd *descriptors, nfds_t count, int timeout)) {
  return fs_entry_poll(descriptors, count, timeout);
}

FS_INTERPOSE(int, __poll_chk,
             (struct pollfd *descriptors, nfds_t count, int timeout, size_t capacity)) {
  if (capacity / sizeof *descriptors < count) __chk_fail();
  return fs_entry_poll(descriptors, count, timeout);
}

FS_INTERPOSE(int, ppoll,
             (struct pollfd *descriptors, nfds_t count, const struct timespec *timeout,
              const sigset_t *mask)) {
  if (fs_all_plain(descriptors, count)) return next_ppoll(descriptors, count, timeout, mask);
  int64_t nanoseconds = fs_nanoseconds(timeout);
  if (nanoseconds == -2) return (int)fs_conclude(-EINVAL);
  bool waited;
  return (int)fs_conclude(fs_poll_with_scratch(descriptors, count, nanoseconds, mask, &waited));
}

FS_INTERPOSE(int, __ppoll_chk,
             (struct pollfd *descriptors, nfds_t count, const struct timespec *timeout,
              const sigset_t *mask, size_t capacity)) {
  if (capacity / sizeof *descriptors < count) __chk_fail();
  return fs_entry_ppoll(descriptors, count, timeout, mask);
}

// MARK: select, by way of poll

// What the kernel's select takes for readable, writable and exceptional.
#define FS_READABLE (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL)
#define FS_WRITABLE (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR | POLLNVAL)
#define FS_EXCEPTIONAL (POLLPRI | POLLNVAL)
#define FS_WORD_BITS 64

/// The sets of one select, as words; a set that was not given is a row of zeros.
struct fs_select {
  uint64_t *sets[3];
};

static const short fs_select_events[3] = {FS_READABLE, FS_WRITABLE, FS_EXCEPTIONAL};

static uint64_t fs_select_word(const struct fs_select *select, int set, int word) {
  return select->sets[set] ? select->sets[set][word] : 0;
}

static uint64_t fs_select_any(const struct fs_select *select, int word) {
  return fs_select_word(select, 0, word) | fs_select_word(select, 1, word) |
         fs_select_word(select, 2, word);
}

static short fs_select_wanted(const struct fs_select *select, int fd) {
  short events = 0;
  for (int set = 0; set < 3; set++)
    if (fs_select_word(select, set, fd / FS_WORD_BITS) >> (fd % FS_WORD_BITS) & 1)
      events |= fs_select_events[set];
  return events;
}

/// Does what follows for each descriptor below `limit` in the sets, in order.
#define FS_SELECT_EACH(select, limit, ...)                                                         \
  for (int word = 0; word * FS_WORD_BITS < limit; word++)                                          \
    for (uint64_t bits = fs_select_any(select, word); bits; bits &= bits - 1) {                    \
      int fd = word * FS_WORD_BITS + __builtin_ctzll(bits);                                        \
      if (fd >= limit) break;                                                                      \
      __VA_ARGS__                                                                                  \
    }

/// Counts the descriptors in the sets; `*ours` says whether one of them is not the kernel's alone.
static size_t fs_select_count(const struct fs_select *select, int limit, bool *ours) {
  size_t count = 0;
  *ours = false;
  FS_SELECT_EACH(select, limit, {
    count++;
    if (!fs_is_plain(fd)) *ours = true;
  })
  return count;
}

/// Writes the result into the sets and counts the bits set, or answers -EBADF: if a descriptor was not
/// open before the call has `waited`.
static int64_t fs_select_finish(struct fs_select *select, int limit,
                                const struct pollfd *descriptors, size_t count, bool waited) {
  for (size_t i = 0; i < count; i++)
    if (descriptors[i].revents & POLLNVAL && !waited) return -EBADF;
  int64_t bits = 0;
  int words = (limit + FS_WORD_BITS - 1) / FS_WORD_BITS;
  size_t next = 0;
  for (int word = 0; word < words; word++) {
    uint64_t given[3], result[3] = {0, 0, 0};
    for (int set = 0; set < 3; set++) given[set] = fs_select_word(select, set, word);
    for (; next < count && descriptors[next].fd / FS_WORD_BITS == word; next++) {
      uint64_t bit = UINT64_C(1) << (descriptors[next].fd % FS_WORD_BITS);
      for (int set = 0; set < 3; set++) {
        if (given[set] & bit && descriptors[next].revents & fs_select_events[set]) {
          result[set] |= bit;
          bits++;
        }
      }
    }
    for (int set = 0; set < 3; set++)
      if (select->sets[set]) select->sets[set][word] = result[set];
  }
  return bits;
}

static int64_t fs_select_with(struct fs_select *select, int limit, struct pollfd *descriptors,
                              size_t count, int64_t timeout, const sigset_t *mask) {
  size_t next = 0;
  FS_SELECT_EACH(select, limit, {
    descriptors[next++] = (struct pollfd){.fd = fd, .events = fs_select_wanted(select, fd)};
  })
  bool waited;
  int64_t answer = fs_poll_with_scratch(descriptors, count, timeout, mask, &waited);
  return answer < 0 ? answer : fs_select_finish(select, limit, descriptors, count, waited);
}

/// select and pselect; FS_PASS when every descriptor is the kernel's alone.
static int64_t fs_select(int limit, fd_set *reads, fd_set *writes, fd_set *exceptions,
                         int64_t timeout, const sigset_t *mask) {
  struct fs_select select = {{(uint64_t *)reads, (uint64_t *)writes, (uint64_t *)exceptions}};
  bool ours;
  size_t count = limit > 0 ? fs_select_count(&select, limit, &ours) : (ours = false, 0);
  if (!ours || fs_thread_state()->inVforkChild) return FS_PASS;
  if (timeout == -2) return -EINVAL;
  if (count < FS_POLL_ON_STACK) {
    struct pollfd descriptors[FS_POLL_ON_STACK];
    return fs_select_with(&select, limit, descriptors, count, timeout, mask);
  }
  size_t size = count * sizeof(struct pollfd);
  struct pollfd *descriptors = fs_sys_map_private(size);
  if (!descriptors) return -ENOMEM;
  int64_t answer = fs_select_with(&select, limit, descriptors, count, timeout, mask);
  fs_sys_unmap(descriptors, size);
  return answer;
}

FS_INTERPOSE(int, select,
             (int limit, fd_set *reads, fd_set *writes, fd_set *exceptions,
              struct timeval *timeout)) {
  struct timespec start, end;
  int64_t nanoseconds = -1;
  if (timeout) {
    struct timespec time = {.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000,
                            .tv_nsec = timeout->tv_usec % 1000000 * 1000};
    nanoseconds = fs_nanoseconds(&time);
    clock_gettime(CLOCK_MONOTONIC, &start);
  }
  int64_t answer = fs_select(limit, reads, writes, exceptions, nanoseconds, NULL);
  if (answer == FS_PASS) return next_select(limit, reads, writes, exceptions, timeout);
  if (timeout && nanoseconds >= 0) {
    // Linux answers the time that was left.
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t left = nanoseconds - ((end.tv_sec - start.tv_sec) * 1000000000 +
                                  (end.tv_nsec - start.tv_nsec));
    if (left < 0) left = 0;
    timeout->tv_sec = left / 1000000000;
    timeout->tv_usec = left % 1000000000 / 1000;
  }
  return (int)fs_conclude(answer);
}

FS_INTERPOSE(int, __select,
             (int limit, fd_set *reads, fd_set *writes, fd_set *exceptions,
              struct timeval *timeout)) {
  return fs_entry_select(limit, reads, writes, exceptions, timeout);
}

FS_INTERPOSE(int, pselect,
             (int limit, fd_set *reads, fd_set *writes, fd_set *exceptions,
              const struct timespec *timeout, const sigset_t *mask)) {
  int64_t answer =
      fs_select(limit, reads, writes, exceptions, fs_nanoseconds(timeout), mask);
  if (answer == FS_PASS) return next_pselect(limit, reads, writes, exceptions, timeout, mask);
  return (int)fs_conclude(answer);
}
