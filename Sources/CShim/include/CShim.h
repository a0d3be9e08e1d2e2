// What the C and the Swift half of libfsocket.so say to each other.
//
// The C half (this module) defines the interposed libc symbols. Each of them decides by one load
// from the descriptor table whether a descriptor concerns the shim: if not, libc's function is
// called and nothing else happens. If so, the Swift half (FSShim) does the work: the `fs_`
// functions that CShimSockets.h and the end of this file declare are defined there with
// `@c @implementation`. They answer a result, -errno, or FS_PASS: "libc's, after all".
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FS_HIDDEN __attribute__((visibility("hidden")))
/// Swift: a C global that no actor isolates.
#define FS_NONISOLATED __attribute__((swift_attr("nonisolated(unsafe)")))

#include "CShimSystem.h"

#include "CShimState.h"

#include "CShimSockets.h"

#include "CShimFallbacks.h"

#include "CShimOptions.h"

#include "Next.h"

// MARK: Epoll descriptors that the kernel alone serves so far

/// One bit per descriptor number that epoll_create once answered. It may be stale: the number may
/// have been closed and be something else now.
extern uint64_t fs_epoll_created[FS_DESCRIPTOR_LIMIT / 64] FS_HIDDEN FS_NONISOLATED;

static inline bool fs_bit(const uint64_t *_Nonnull bits, int fd) {
  return (unsigned)fd < FS_DESCRIPTOR_LIMIT && (bits[fd / 64] >> (fd % 64) & 1);
}

static inline void fs_bit_set(uint64_t *_Nonnull bits, int fd) {
  if ((unsigned)fd < FS_DESCRIPTOR_LIMIT)
    __atomic_fetch_or(&bits[fd / 64], UINT64_C(1) << (fd % 64), __ATOMIC_RELAXED);
}

static inline void fs_bit_clear(uint64_t *_Nonnull bits, int fd) {
  if (fs_bit(bits, fd))
    __atomic_fetch_and(&bits[fd / 64], ~(UINT64_C(1) << (fd % 64)), __ATOMIC_RELAXED);
}

/// Threads that sleep in epoll sets which the kernel alone serves: a count for all sets whose
/// descriptors have the same lower bits. More is no harm: someone is woken for nothing.
#define FS_EPOLL_SLEEPER_COUNTS 256
extern uint32_t fs_epoll_sleeper_counts[FS_EPOLL_SLEEPER_COUNTS] FS_HIDDEN FS_NONISOLATED;

/// The threads that may be in libc's epoll_wait for a set.
static inline uint32_t fs_epoll_sleepers(int set) {
  return __atomic_load_n(&fs_epoll_sleeper_counts[(unsigned)set % FS_EPOLL_SLEEPER_COUNTS],
                         __ATOMIC_SEQ_CST);
}

static inline void fs_epoll_sleepers_add(int set, uint32_t change) {
  __atomic_fetch_add(&fs_epoll_sleeper_counts[(unsigned)set % FS_EPOLL_SLEEPER_COUNTS], change,
                     __ATOMIC_SEQ_CST);
}

// MARK: Readiness, state

/// Where the Swift half keeps epoll sets and links; null until the first is made.
extern void *_Nullable fs_readiness_memory FS_HIDDEN FS_NONISOLATED;

static inline void *_Nullable fs_readiness_memory_get(void) {
  return __atomic_load_n(&fs_readiness_memory, __ATOMIC_ACQUIRE);
}

/// Sets the memory unless another thread was faster; what holds now.
static inline void *_Nonnull fs_readiness_memory_offer(void *_Nonnull memory) {
  void *expected = 0;
  return __atomic_compare_exchange_n(&fs_readiness_memory, &expected, memory, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
             ? memory
             : expected;
}

// MARK: Small things of libc

/// Descriptors that `fs_find_open` looks at.
#define FS_DESCRIPTOR_WINDOW 256

/// Marks in `open` (a bit for each) which of `count` numbers from `first` on are open descriptors;
/// `count` is FS_DESCRIPTOR_WINDOW at most. How many are, or -errno.
int fs_find_open(int first, int count, uint64_t *_Nonnull open);

/// How long epoll_wait and its like watch the rings before they sleep: FSD_SPIN_MICROSECONDS, at
/// most 10,000; not at all unless it says so, because the engine may need the core.
uint32_t fs_spin_microseconds(void);

/// Eight bytes of the randomness that the kernel gave the process at exec.
uint64_t fs_process_random(void);

static inline int fs_errno(void) { return errno; }

/// Nanoseconds of the monotonic clock.
static inline uint64_t fs_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// FS_PASS, for Swift.
static inline int64_t fs_pass(void) { return FS_PASS; }

/// Tells the processor that this is a spin loop.
static inline void fs_pause(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause" ::: "memory");
#else
  __asm__ volatile("yield" ::: "memory");
#endif
}

/// A clock for short distances that costs a few nanoseconds, and how many of its ticks are about 30
/// microseconds (on x86-64, between 15 and 65 for clocks of 4.3 to 1 GHz).
static inline uint64_t fs_ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#endif
}

static inline uint64_t fs_ticks_per_look(void) {
#if defined(__x86_64__)
  return 1 << 16;
#else
  uint64_t frequency;
  __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
  return frequency >> 15;
#endif
}

/// Whether a wait that a signal interrupted is to be made again: every signal handler of this
/// process was installed with SA_RESTART. The kernel knows which handler ran; from outside one can
/// only ask which there are.
bool fs_signals_restart(void);

/// epoll_pwait of libc, a cancellation point, with a timeout in nanoseconds (negative: none).
/// Answers a count or -errno.
int fs_next_epoll_wait(int set, struct epoll_event *_Nonnull events, int capacity, int64_t timeout,
                       const sigset_t *_Nullable mask);
/// ppoll of libc, likewise.
int fs_next_poll(struct pollfd *_Nullable descriptors, size_t count, int64_t timeout,
                 const sigset_t *_Nullable mask);

/// epoll_ctl with the application's event.
static inline int fs_sys_epoll_control(int set, int operation, int fd,
                                       struct epoll_event *_Nullable event) {
  return (int)fs_syscall(SYS_epoll_ctl, set, operation, fd, (long)event, 0, 0);
}

/// Looks at descriptors without waiting.
static inline int fs_sys_poll_look(struct pollfd *_Nonnull descriptors, size_t count) {
  struct timespec zero = {0, 0};
  return fs_sys_ppoll(descriptors, count, &zero);
}

// MARK: Readiness, in Swift

/// epoll_ctl, when `set` or `fd` is not the kernel's alone.
int64_t fs_epoll_ctl(int set, int operation, int fd, struct epoll_event *_Nullable event);
/// Makes an epoll set that the kernel alone serves one that this library knows; whether it is an epoll
/// set at all.
bool fs_epoll_known(int fd);
/// epoll_wait, epoll_pwait, epoll_pwait2 on a set that is not the kernel's alone; `timeout` in
/// nanoseconds, negative for none.
int64_t fs_epoll_wait(int set, struct epoll_event *_Nullable events, int capacity, int64_t timeout,
                      const sigset_t *_Nullable mask);
/// What libc's epoll_wait has found (`found` events) in a set that has become one of ours meanwhile.
int64_t fs_epoll_waited(int set, struct epoll_event *_Nonnull events, int capacity, int found,
                        uint64_t deadline, const sigset_t *_Nullable mask);
/// poll, ppoll, select, pselect when at least one descriptor is not the kernel's alone. `scratch`
/// has room for `count` + 1.
int64_t fs_poll(struct pollfd *_Nonnull descriptors, size_t count, int64_t timeout,
                const sigset_t *_Nullable mask, struct pollfd *_Nonnull scratch);
