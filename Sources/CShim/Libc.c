// Finding libc: the table of next definitions, and what Swift needs beside it.
#include "Interpose.h"

#include <dlfcn.h>

// Trampolines. Each resolves the whole table and then goes where its entry now points.
static void fs_resolve(void);
#define X(result, name, parameters, arguments)                                                     \
  static result fs_first_##name parameters {                                                       \
    fs_resolve();                                                                                  \
    return fs_next_table.name arguments;                                                           \
  }
FS_NEXT_FUNCTIONS(X)
#undef X

struct fs_next fs_next_table = {
#define X(result, name, parameters, arguments) .name = fs_first_##name,
    FS_NEXT_FUNCTIONS(X)
#undef X
};

// Older C libraries lack the youngest of the functions: what then stands in the table.
static int fs_missing_epoll_pwait2(int set, struct epoll_event *events, int capacity,
                                   const struct timespec *timeout, const sigset_t *mask) {
  return (int)next_syscall(SYS_epoll_pwait2, set, (long)events, capacity, (long)timeout, (long)mask,
                           _NSIG / 8);
}

static int fs_missing_close_range(unsigned first, unsigned last, int flags) {
  return (int)next_syscall(SYS_close_range, first, last, flags, 0, 0, 0);
}

static int fs_missing_execveat(int directory, const char *path, char *const arguments[],
                               char *const environment[], int flags) {
  return (int)next_syscall(SYS_execveat, directory, (long)path, (long)arguments, (long)environment,
                           flags, 0);
}

static void fs_missing_closefrom(int first) {
  (void)next_syscall(SYS_close_range, first < 0 ? 0 : first, ~0u, 0, 0, 0, 0);
}

/// Looks up every symbol behind this library. The lookups stand in this one function and their
/// results are stored, because dlsym tells the caller's library by the return address. Two threads
/// that race store the same values.
static void fs_resolve(void) {
  int error = errno;
  void *found;
#define X(result, name, parameters, arguments)                                                     \
  found = dlsym(RTLD_NEXT, #name);                                                                 \
  if (found) __atomic_store_n((void **)&fs_next_table.name, found, __ATOMIC_RELAXED);
  FS_NEXT_FUNCTIONS(X)
#undef X
  if (fs_next_table.epoll_pwait2 == fs_first_epoll_pwait2)
    fs_next_table.epoll_pwait2 = fs_missing_epoll_pwait2;
  if (fs_next_table.close_range == fs_first_close_range)
    fs_next_table.close_range = fs_missing_close_range;
  if (fs_next_table.closefrom == fs_first_closefrom)
    fs_next_table.closefrom = fs_missing_closefrom;
  if (fs_next_table.execveat == fs_first_execveat) fs_next_table.execveat = fs_missing_execveat;
  errno = error;
}

/// Early, but other libraries' constructors may run before: the trampolines take care of them.
__attribute__((constructor(101))) static void fs_begin(void) {
  fs_resolve();
  fs_remember_environment();
  fs_initialize();
}

uint64_t fs_process_random(void) {
  uint64_t value = 0;
  const void *random = (const void *)getauxval(AT_RANDOM);
  if (random) memcpy(&value, random, sizeof value);
  return value;
}

uint32_t fs_spin_microseconds(void) {
  const char *text = getenv("FSD_SPIN_MICROSECONDS");
  long value = text ? strtol(text, NULL, 10) : 0;
  return value < 0 ? 0 : value > 10000 ? 10000 : (uint32_t)value;
}

int fs_find_open(int first, int count, uint64_t *open) {
  struct pollfd window[FS_DESCRIPTOR_WINDOW];
  for (int index = 0; index < count; index++) window[index] = (struct pollfd){.fd = first + index};
  int result = fs_sys_poll_look(window, (size_t)count);
  if (result < 0) return result;
  int found = 0;
  for (int index = 0; index < count; index++) {
    if (window[index].revents & POLLNVAL) continue;
    open[index / 64] |= UINT64_C(1) << (index % 64);
    found++;
  }
  return found;
}

bool fs_signals_restart(void) {
  // The kernel's own view: libc's sigaction structure has a wider mask.
  struct {
    unsigned long handler;
    unsigned long flags;
    unsigned long restorer;
    uint64_t mask;
  } action;
  for (int signal = 1; signal < _NSIG; signal++) {
    if (fs_syscall(SYS_rt_sigaction, signal, 0, (long)&action, sizeof action.mask, 0, 0) < 0)
      continue;
    if (action.handler == (unsigned long)SIG_DFL || action.handler == (unsigned long)SIG_IGN)
      continue;
    if (!(action.flags & SA_RESTART)) return false;
  }
  return true;
}

static struct timespec fs_timespec(int64_t nanoseconds) {
  return (struct timespec){.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
}

int fs_next_epoll_wait(int set, struct epoll_event *events, int capacity, int64_t timeout,
                       const sigset_t *mask) {
  int result;
  if (timeout < 0) {
    result = next_epoll_pwait(set, events, capacity, -1, mask);
  } else if (timeout % 1000000 == 0 && timeout / 1000000 <= INT32_MAX) {
    result = next_epoll_pwait(set, events, capacity, (int)(timeout / 1000000), mask);
  } else {
    struct timespec time = fs_timespec(timeout);
    result = next_epoll_pwait2(set, events, capacity, &time, mask);
    // Linux before 5.11 has only milliseconds.
    if (result < 0 && errno == ENOSYS)
      result = next_epoll_pwait(set, events, capacity, (int)((timeout + 999999) / 1000000), mask);
  }
  return result < 0 ? -errno : result;
}

int fs_next_poll(struct pollfd *descriptors, size_t count, int64_t timeout, const sigset_t *mask) {
  struct timespec time = fs_timespec(timeout < 0 ? 0 : timeout);
  int result = next_ppoll(descriptors, count, timeout < 0 ? NULL : &time, mask);
  return result < 0 ? -errno : result;
}
