// What of a process falls back to the kernel, how often, and why.
//
// The counters stand in a section of their own, each beside the words that explain it, so that
// `fsd stats --process` can read them from outside: counting costs an addition where a system call
// follows anyway, reading costs the process nothing, and there is nothing to be set up.
#pragma once

// clang-format off
#define FS_FALLBACKS(X) \
  X(SOCKET_NO_DAEMON, "socket: no daemon answers") \
  X(SOCKET_LIMIT, "socket: more descriptors or sockets than the library counts") \
  X(CONNECT_KERNEL_ADDRESS, "connect: an address that only the kernel serves") \
  X(CONNECT_KERNEL_SOCKET, "connect: bound to a port, or with an option that only the kernel has") \
  X(CONNECT_NO_DAEMON, "connect: no daemon answers") \
  X(CONNECT_UNMANAGED, "connect: no managed interface leads there") \
  X(CONNECT_LIMIT, "connect: no channel, or no room in it") \
  X(LISTEN_KERNEL_SOCKET, "listen: with an option that only the kernel has") \
  X(LISTEN_UNMANAGED, "listen: no daemon answers, or no managed interface has the address") \
  X(LISTEN_LIMIT, "listen: more listeners than the library counts") \
  X(ACCEPT_KERNEL, "accept: the connection came by way of the kernel") \
  X(REFUSED_OPTION, "an option refused, which only the kernel has") \
  X(REFUSED_SPLICE, "splice refused: programs then read and write")
// clang-format on

enum {
#define X(name, text) FS_FALLBACK_##name,
  FS_FALLBACKS(X)
#undef X
      FS_FALLBACK_COUNT
};

/// One counter, as it stands in the section: FallbackCounters.swift of fsd reads it.
struct fs_fallback {
  /// Why, zero-terminated.
  char reason[120];
  uint64_t count;
};

extern struct fs_fallback fs_fallbacks[FS_FALLBACK_COUNT] FS_HIDDEN FS_NONISOLATED;

/// Counts one more.
static inline void fs_fell_back(int reason) {
  __atomic_fetch_add(&fs_fallbacks[reason].count, 1, __ATOMIC_RELAXED);
}
