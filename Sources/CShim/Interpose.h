// What every file of interposers shares.
#pragma once
#include "CShim.h"

/// Begins the definition of an interposed symbol. The function has another name in C, so that
/// libc's own prototype (transparent unions, variadic arguments, attributes) does not collide.
#define FS_INTERPOSE(result, name, parameters)                                                     \
  __attribute__((visibility("default"))) result fs_entry_##name parameters __asm__(#name);         \
  result fs_entry_##name parameters

#define FS_LIKELY(condition) __builtin_expect(!!(condition), 1)

/// Whether a call on `fd` is none of the shim's business: a descriptor of the kernel, or a child
/// made by vfork, which borrows its parent's memory and must not touch the tables in it.
static inline bool fs_passes(int fd) {
  return FS_LIKELY(fs_is_plain(fd)) || fs_thread_state()->inVforkChild;
}

/// Likewise for input and output, which are the shim's business only on connections.
static inline bool fs_data_passes(int fd) {
  return FS_LIKELY(fs_descriptor_kind(fd) < FS_KIND_CONNECTION) || fs_thread_state()->inVforkChild;
}

/// Turns an answer of the Swift half into libc's convention.
static inline int64_t fs_conclude(int64_t answer) {
  if (answer >= 0) return answer;
  errno = (int)-answer;
  return -1;
}

/// Returns what the Swift half answered, or what libc's function answers if it passed.
#define FS_RETURN(type, call, next)                                                                \
  do {                                                                                             \
    int64_t answer = (call);                                                                       \
    return answer == FS_PASS ? (next) : (type)fs_conclude(answer);                                 \
  } while (0)

/// A descriptor that libc just answered: the number is new, so whatever the table still has under
/// it was closed behind the shim's back.
static inline int fs_fresh(int fd) {
  if (fd >= 0 && !fs_is_plain(fd) && !fs_thread_state()->inVforkChild) fs_descriptor_created(fd);
  return fd;
}

/// Ends the process as libc's fortified functions do when a buffer is too small.
__attribute__((noreturn)) void __chk_fail(void);
