// Declarations that `import Glibc` leaves out because they need _GNU_SOURCE, and static inlines for
// what Swift cannot call: variadic functions and function-like macros.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// Glibc's module has `fd_set` as it is without _GNU_SOURCE; here it must be the same, or a Swift file
// that imports both does not compile.
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// The time-stamp counter, for counting busy and idle cycles of an engine.
static inline uint64_t fs_cycles(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t value;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#endif
}

// Tells the processor that this is a spin loop, which leaves more of the core to its hyper-thread.
static inline void fs_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// How a thread is scheduled (sched_setattr(2), for which glibc has no function before 2.41).
struct fs_scheduling {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

// The calling thread's time slice in nanoseconds under the fair scheduler of Linux 6.12 and later; 0 on earlier
// kernels, and if it cannot be read.
static inline uint64_t fs_time_slice(void) {
  struct fs_scheduling scheduling = {0};
  return syscall(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) == 0 ? scheduling.runtime : 0;
}

// Sets that time slice, and leaves everything else as it is; earlier kernels ignore it. Returns 0 or an error
// number.
static inline int fs_set_time_slice(uint64_t nanoseconds) {
  struct fs_scheduling scheduling = {0};
  if (syscall(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) != 0) return errno;
  scheduling.size = sizeof scheduling;
  scheduling.runtime = nanoseconds;
  return syscall(SYS_sched_setattr, 0, &scheduling, 0) == 0 ? 0 : errno;
}
