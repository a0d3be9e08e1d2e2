// The integer options of setsockopt(2) that the shim keeps for its connections, in one list.
//
// An option that is not here is the kernel's: what getsockopt answers for it is what a new socket of
// the kernel would, and setting it on an accelerated connection is refused (docs/options.md).
#pragma once

/// What a value has to be.
enum {
  /// Any integer; kept as 0 or 1.
  FS_CHECK_SWITCH,
  /// Between the bounds, else EINVAL.
  FS_CHECK_RANGE,
  /// A new socket of the kernel decides, and what it makes of the value is kept.
  FS_CHECK_KERNEL,
  /// By rules of its own, in Swift.
  FS_CHECK_OWN,
};

/// Whom an option concerns.
enum {
  /// The engine is told of it.
  FS_TO_ENGINE = 1,
  /// An accepted connection does not have it from its listener.
  FS_NOT_INHERITED = 2,
  /// Not to be set on a socket that is bound, as every connection is: EINVAL.
  FS_ONLY_UNBOUND = 4,
  /// The engines have to know it of a listener: the daemon reads it from the listening socket.
  FS_OF_LISTENERS = 8,
};

#define FS_SWITCH FS_CHECK_SWITCH, 0, 0
#define FS_RANGE(low, high) FS_CHECK_RANGE, low, high
#define FS_KERNEL FS_CHECK_KERNEL, 0, 0
#define FS_OWN FS_CHECK_OWN, 0, 0

// clang-format off
/// On or off. X(number, level, name, check, properties)
#define FS_SWITCH_OPTIONS(X) \
  X(REUSEADDR, SOL_SOCKET, SO_REUSEADDR, FS_SWITCH, 0) \
  X(REUSEPORT, SOL_SOCKET, SO_REUSEPORT, FS_SWITCH, 0) \
  X(KEEPALIVE, SOL_SOCKET, SO_KEEPALIVE, FS_SWITCH, FS_TO_ENGINE) \
  X(OOBINLINE, SOL_SOCKET, SO_OOBINLINE, FS_SWITCH, 0) \
  X(BROADCAST, SOL_SOCKET, SO_BROADCAST, FS_SWITCH, 0) \
  X(DONTROUTE, SOL_SOCKET, SO_DONTROUTE, FS_SWITCH, 0) \
  X(NO_CHECK, SOL_SOCKET, SO_NO_CHECK, FS_SWITCH, 0) \
  X(RXQ_OVFL, SOL_SOCKET, SO_RXQ_OVFL, FS_SWITCH, 0) \
  X(SELECT_ERR_QUEUE, SOL_SOCKET, SO_SELECT_ERR_QUEUE, FS_SWITCH, 0) \
  X(DEBUG, SOL_SOCKET, SO_DEBUG, FS_KERNEL, 0) \
  X(TIMESTAMP, SOL_SOCKET, SO_TIMESTAMP, FS_KERNEL, 0) \
  X(TIMESTAMPNS, SOL_SOCKET, SO_TIMESTAMPNS, FS_KERNEL, 0) \
  X(PREFER_BUSY_POLL, SOL_SOCKET, SO_PREFER_BUSY_POLL, FS_KERNEL, 0) \
  X(NODELAY, IPPROTO_TCP, TCP_NODELAY, FS_SWITCH, FS_TO_ENGINE) \
  X(CORK, IPPROTO_TCP, TCP_CORK, FS_SWITCH, FS_TO_ENGINE) \
  X(QUICKACK, IPPROTO_TCP, TCP_QUICKACK, FS_SWITCH, FS_TO_ENGINE | FS_NOT_INHERITED) \
  X(THIN_LINEAR_TIMEOUTS, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, FS_RANGE(0, 1), 0) \
  X(INQ, IPPROTO_TCP, TCP_INQ, FS_RANGE(0, 1), 0) \
  X(RECVTOS, IPPROTO_IP, IP_RECVTOS, FS_KERNEL, 0) \
  X(RECVTTL, IPPROTO_IP, IP_RECVTTL, FS_KERNEL, 0) \
  X(PKTINFO, IPPROTO_IP, IP_PKTINFO, FS_KERNEL, 0) \
  X(RECVERR, IPPROTO_IP, IP_RECVERR, FS_KERNEL, 0) \
  X(FREEBIND, IPPROTO_IP, IP_FREEBIND, FS_KERNEL, 0) \
  X(TRANSPARENT, IPPROTO_IP, IP_TRANSPARENT, FS_KERNEL, 0) \
  X(BIND_ADDRESS_NO_PORT, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, FS_KERNEL, 0) \
  X(V6ONLY, IPPROTO_IPV6, IPV6_V6ONLY, FS_KERNEL, FS_ONLY_UNBOUND) \
  X(RECVPKTINFO6, IPPROTO_IPV6, IPV6_RECVPKTINFO, FS_KERNEL, 0) \
  X(RECVHOPLIMIT6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, FS_KERNEL, 0) \
  X(RECVTCLASS6, IPPROTO_IPV6, IPV6_RECVTCLASS, FS_KERNEL, 0) \
  X(RECVERR6, IPPROTO_IPV6, IPV6_RECVERR, FS_KERNEL, 0) \
  X(FREEBIND6, IPPROTO_IPV6, IPV6_FREEBIND, FS_KERNEL, 0) \
  X(TRANSPARENT6, IPPROTO_IPV6, IPV6_TRANSPARENT, FS_KERNEL, 0)

/// Numbers. X(number, level, name, check, properties)
#define FS_NUMBER_OPTIONS(X) \
  X(SNDBUF, SOL_SOCKET, SO_SNDBUF, FS_OWN, 0) \
  X(RCVBUF, SOL_SOCKET, SO_RCVBUF, FS_OWN, FS_TO_ENGINE) \
  X(RCVLOWAT, SOL_SOCKET, SO_RCVLOWAT, FS_KERNEL, FS_TO_ENGINE) \
  X(PRIORITY, SOL_SOCKET, SO_PRIORITY, FS_KERNEL, FS_NOT_INHERITED) \
  X(MARK, SOL_SOCKET, SO_MARK, FS_KERNEL, 0) \
  X(INCOMING_CPU, SOL_SOCKET, SO_INCOMING_CPU, FS_KERNEL, 0) \
  X(BUSY_POLL, SOL_SOCKET, SO_BUSY_POLL, FS_KERNEL, 0) \
  X(MAXSEG, IPPROTO_TCP, TCP_MAXSEG, FS_OWN, FS_TO_ENGINE | FS_OF_LISTENERS) \
  X(KEEPIDLE, IPPROTO_TCP, TCP_KEEPIDLE, FS_RANGE(1, 32767), FS_TO_ENGINE) \
  X(KEEPINTVL, IPPROTO_TCP, TCP_KEEPINTVL, FS_RANGE(1, 32767), FS_TO_ENGINE) \
  X(KEEPCNT, IPPROTO_TCP, TCP_KEEPCNT, FS_RANGE(1, 127), FS_TO_ENGINE) \
  X(SYNCNT, IPPROTO_TCP, TCP_SYNCNT, FS_RANGE(1, 127), FS_TO_ENGINE | FS_OF_LISTENERS) \
  X(LINGER2, IPPROTO_TCP, TCP_LINGER2, FS_OWN, FS_TO_ENGINE) \
  X(DEFER_ACCEPT, IPPROTO_TCP, TCP_DEFER_ACCEPT, FS_KERNEL, FS_NOT_INHERITED | FS_OF_LISTENERS) \
  X(WINDOW_CLAMP, IPPROTO_TCP, TCP_WINDOW_CLAMP, FS_KERNEL, FS_TO_ENGINE) \
  X(USER_TIMEOUT, IPPROTO_TCP, TCP_USER_TIMEOUT, FS_RANGE(0, INT32_MAX), FS_TO_ENGINE) \
  X(NOTSENT_LOWAT, IPPROTO_TCP, TCP_NOTSENT_LOWAT, FS_RANGE(INT32_MIN, INT32_MAX), FS_TO_ENGINE) \
  X(SAVE_SYN, IPPROTO_TCP, TCP_SAVE_SYN, FS_RANGE(0, 2), 0) \
  X(CONGESTION, IPPROTO_TCP, TCP_CONGESTION, FS_OWN, FS_TO_ENGINE) \
  X(TOS, IPPROTO_IP, IP_TOS, FS_KERNEL, FS_TO_ENGINE) \
  X(TTL, IPPROTO_IP, IP_TTL, FS_KERNEL, FS_TO_ENGINE) \
  X(MTU_DISCOVER, IPPROTO_IP, IP_MTU_DISCOVER, FS_KERNEL, 0) \
  X(UNICAST_HOPS6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, FS_KERNEL, FS_TO_ENGINE) \
  X(TCLASS6, IPPROTO_IPV6, IPV6_TCLASS, FS_KERNEL, FS_TO_ENGINE) \
  X(MTU_DISCOVER6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, FS_KERNEL, 0) \
  X(PACING_RATE, SOL_SOCKET, SO_MAX_PACING_RATE, FS_OWN, FS_TO_ENGINE)
// clang-format on

/// The numbers of the options.
enum {
#define X(number, level, name, check, properties) FS_OPTION_##number,
  FS_SWITCH_OPTIONS(X) FS_OPTION_SWITCHES,
  FS_OPTION_BEFORE_NUMBERS = FS_OPTION_SWITCHES - 1,
  FS_NUMBER_OPTIONS(X) FS_OPTION_COUNT,
#undef X
};

_Static_assert(FS_OPTION_COUNT <= 64, "a 64-bit word says which are set");
_Static_assert(FS_OPTION_COUNT - FS_OPTION_SWITCHES == 26, "OptionNumbers in Swift");

/// What is known of one option.
struct fs_option {
  int32_t level, name, properties, check, low, high;
};

extern const struct fs_option fs_options[FS_OPTION_COUNT] __attribute__((visibility("hidden")));

static inline const struct fs_option *_Nonnull fs_option_at(int number) {
  return &fs_options[number];
}

/// The number of an option, or -1.
static inline int fs_option_find(int level, int name) {
  // Another level can have no name that looks like one of these.
  if ((unsigned)level > 0xffff || (unsigned)name > 0xffff) return -1;
  switch (level << 16 | name) {
#define X(number, level, name, check, properties)                                                  \
  case level << 16 | name: return FS_OPTION_##number;
    FS_SWITCH_OPTIONS(X) FS_NUMBER_OPTIONS(X)
#undef X
    default: return -1;
  }
}
