// Linux as the model of socket options: every option with several values and lengths, on sockets in
// every state, and what setsockopt and getsockopt answer compared with the kernel's answers.
#include "model.h"

// MARK: What is asked

struct range {
  int level, first, last;
  const char *name;
};

// Every number that Linux has had a name for, and some beyond.
static const struct range ranges[] = {
    {SOL_SOCKET, 1, 90, "SOCKET"},
    {IPPROTO_TCP, 1, 48, "TCP"},
    {IPPROTO_IP, 1, 60, "IP"},
    {IPPROTO_IPV6, 1, 80, "IPV6"},
    {IPPROTO_UDP, 1, 1, "UDP"},
};

/// Options that would change what the kernel's connection does in a way that nothing undoes.
static bool isDestructive(int level, int name) {
  if (level == IPPROTO_TCP)
    return (name >= TCP_REPAIR && name <= TCP_REPAIR_OPTIONS) || name == 29 /* REPAIR_WINDOW */;
  return (level == SOL_SOCKET && name == SO_LOCK_FILTER) ||
         (level == IPPROTO_IP && name == IP_OPTIONS);
}

/// Options whose values are strings or structures; they have a script of their own, or none.
static bool isStructured(int level, int name) {
  if (level == SOL_SOCKET)
    return name == SO_LINGER || name == SO_RCVTIMEO || name == SO_SNDTIMEO || name == 66 ||
           name == 67;
  return level == IPPROTO_TCP && (name == TCP_CONGESTION || name == TCP_INFO);
}

static const char *state;

static int get(int fd, const struct range *range, int name, const char *when) {
  unsigned char value[256] = {0};
  socklen_t length = sizeof value;
  int result = getsockopt(fd, range->level, name, value, &length);
  observe(result, errno, value, result < 0 ? 0 : length, "%s %d get, %s, %s", range->name, name,
          when, state);
  int number = 0;
  memcpy(&number, value, sizeof number);
  return result < 0 ? -1 : number;
}

static void set(int fd, const struct range *range, int name, const void *value, socklen_t length,
                const char *text) {
  int result = setsockopt(fd, range->level, name, value, length);
  observe(result, errno, NULL, 0, "%s %d set %s length %d, %s", range->name, name, text,
          (int)length, state);
  get(fd, range, name, text);
}

static void setNumber(int fd, const struct range *range, int name, int number, const char *text) {
  char digits[16];
  snprintf(digits, sizeof digits, "%d", number);
  set(fd, range, name, &number, sizeof number, text ? text : digits);
}

/// Each option alone: what it is, what several values make of it, and what lengths do.
static void sweep(int fd) {
  static const int values[] = {1, 0, 2, 5, 6, 33, 88, 100, 127, 128, 255, 256, 1000, 32767, 32768,
                               100000, 2000000000, -1, -2};
  for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
    const struct range *range = &ranges[r];
    for (int name = range->first; name <= range->last; name++) {
      if (isDestructive(range->level, name) || isStructured(range->level, name)) continue;
      int before = get(fd, range, name, "at first");
      for (size_t v = 0; v < sizeof values / sizeof *values; v++)
        setNumber(fd, range, name, values[v], NULL);
      // A minimal time to live, for one, would have the kernel drop what comes later.
      setNumber(fd, range, name, before, "as before");
    }
  }
}

/// What is kept together: options set first and read afterwards, and the other way round.
static void readAll(int fd) {
  for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
    for (int name = ranges[r].first; name <= ranges[r].last; name++)
      if (!isDestructive(ranges[r].level, name) && !isStructured(ranges[r].level, name))
        get(fd, &ranges[r], name, "later");
}

static const struct {
  int level, name, value;
} together[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1},       {SOL_SOCKET, SO_OOBINLINE, 1},
    {SOL_SOCKET, SO_SNDBUF, 50000},      {SOL_SOCKET, SO_RCVBUF, 60000},
    {SOL_SOCKET, SO_RCVLOWAT, 3},        {SOL_SOCKET, SO_PRIORITY, 3},
    {SOL_SOCKET, SO_MAX_PACING_RATE, 1 << 30}, {SOL_SOCKET, SO_MARK, 0},
    {SOL_SOCKET, SO_DONTROUTE, 1},       {SOL_SOCKET, SO_BROADCAST, 1},
    {IPPROTO_TCP, TCP_NODELAY, 1},       {IPPROTO_TCP, TCP_KEEPIDLE, 100},
    {IPPROTO_TCP, TCP_KEEPINTVL, 11},    {IPPROTO_TCP, TCP_KEEPCNT, 3},
    {IPPROTO_TCP, TCP_SYNCNT, 4},        {IPPROTO_TCP, TCP_LINGER2, 10},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 0},  {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 100000}, {IPPROTO_TCP, TCP_QUICKACK, 1},
    {IPPROTO_TCP, TCP_SAVE_SYN, 1},      {IPPROTO_TCP, TCP_MAXSEG, 1000},
    {IPPROTO_IP, IP_TOS, 0x48},          {IPPROTO_IP, IP_TTL, 61},
    {IPPROTO_IPV6, IPV6_TCLASS, 0x48},   {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 61},
};

static void setTogether(int fd) {
  for (size_t i = 0; i < sizeof together / sizeof *together; i++) {
    int result = setsockopt(fd, together[i].level, together[i].name, &together[i].value,
                            sizeof together[i].value);
    observe(result, errno, NULL, 0, "together %d %d, %s", together[i].level, together[i].name, state);
  }
}

/// Lengths and addresses: too short, too long, negative, missing.
static void lengths(int fd) {
  static const struct {
    int level, name;
  } some[] = {
      {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_RCVBUF},      {SOL_SOCKET, SO_LINGER},
      {SOL_SOCKET, SO_RCVTIMEO},  {SOL_SOCKET, SO_PRIORITY},    {SOL_SOCKET, SO_MAX_PACING_RATE},
      {SOL_SOCKET, SO_ERROR},     {SOL_SOCKET, SO_TYPE},        {SOL_SOCKET, SO_RCVLOWAT},
      {SOL_SOCKET, SO_COOKIE},    {SOL_SOCKET, SO_PEERNAME},    {SOL_SOCKET, SO_PEERCRED},
      {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_KEEPIDLE},  {IPPROTO_TCP, TCP_MAXSEG},
      {IPPROTO_TCP, TCP_LINGER2}, {IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_ULP},
      {IPPROTO_TCP, TCP_INFO},    {IPPROTO_TCP, TCP_QUICKACK},  {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
      {IPPROTO_IP, IP_TOS},       {IPPROTO_IP, IP_TTL},         {IPPROTO_IPV6, IPV6_TCLASS},
  };
  static const int sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 28, 64, -1, -100};
  for (size_t i = 0; i < sizeof some / sizeof *some; i++)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
      unsigned char value[256] = {9};
      int level = some[i].level, name = some[i].name, size = sizes[s];
      int result = setsockopt(fd, level, name, value, (socklen_t)size);
      observe(result, errno, NULL, 0, "lengths %d %d set %d, %s", level, name, size, state);
      result = setsockopt(fd, level, name, NULL, (socklen_t)size);
      observe(result, errno, NULL, 0, "lengths %d %d set null %d, %s", level, name, size, state);
      memset(value, 0xcc, sizeof value);
      socklen_t length = (socklen_t)size;
      result = getsockopt(fd, level, name, value, &length);
      // TCP_INFO is looked at elsewhere; here only how much of it there is.
      bool isVague = level == IPPROTO_TCP && name == TCP_INFO;
      observe(result, errno, value, result < 0 || isVague ? 0 : length, "lengths %d %d get %d, %s",
              level, name, size, state);
      observe((int)length, 0, NULL, 0, "lengths %d %d got %d, %s", level, name, size, state);
      length = (socklen_t)size;
      result = getsockopt(fd, level, name, NULL, &length);
      observe(result, errno, NULL, 0, "lengths %d %d get null %d, %s", level, name, size, state);
      result = getsockopt(fd, level, name, value, NULL);
      observe(result, errno, NULL, 0, "lengths %d %d no length, %s", level, name, state);
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){0}, sizeof(int));
    }
}

static void lingers(int fd) {
  static const struct linger values[] = {{1, 5}, {0, 7}, {1, -1}, {2, 0}, {1, 100000}, {-1, 3}, {0, 0}};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    int result = setsockopt(fd, SOL_SOCKET, SO_LINGER, &values[i], sizeof values[i]);
    observe(result, errno, NULL, 0, "linger %d %d set, %s", values[i].l_onoff, values[i].l_linger, state);
    struct linger got = {0, 0};
    socklen_t length = sizeof got;
    result = getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length);
    observe(result, errno, &got, length, "linger %d %d get, %s", values[i].l_onoff,
            values[i].l_linger, state);
  }
}

static void timeouts(int fd) {
  static const struct timeval values[] = {{1, 0},  {0, 1},       {0, 999999},  {3, 4001}, {-1, 0},
                                          {-5, 5}, {0, 1000000}, {0, -1},      {1, -1},
                                          {1 << 30, 0}, {0, 0}};
  static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO, 66, 67};
  for (size_t n = 0; n < sizeof names / sizeof *names; n++)
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
      int result = setsockopt(fd, SOL_SOCKET, names[n], &values[i], sizeof values[i]);
      observe(result, errno, NULL, 0, "timeout %d %ld %ld set, %s", names[n], values[i].tv_sec,
              values[i].tv_usec, state);
      struct timeval got = {0, 0};
      socklen_t length = sizeof got;
      result = getsockopt(fd, SOL_SOCKET, names[n], &got, &length);
      observe(result, errno, &got, length, "timeout %d %ld %ld get, %s", names[n], values[i].tv_sec,
              values[i].tv_usec, state);
    }
}

static void names(int fd) {
  // No algorithm of the kernel alone here: what else it has depends on its modules.
  static const char texts[][24] = {"reno", "nonesuch", "", "RENO", "reno ", "renoreno", "aaaaaaaaaaaaaaaaaaaa"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    static const int sizes[] = {-2, 0, 3, 4, 16, 20};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
      socklen_t length = sizes[s] == -2 ? (socklen_t)strlen(texts[i]) + 1 : (socklen_t)sizes[s];
      int result = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, texts[i], length);
      observe(result, errno, NULL, 0, "congestion '%s' length %d, %s", texts[i], (int)length, state);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 5);
    char got[16] = {0};
    socklen_t length = sizeof got;
    int result = getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, got, &length);
    observe(result, errno, got, length, "congestion get, %s", state);
  }
  int result = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nonesuch", 9);
  observe(result, errno, NULL, 0, "ulp nonesuch, %s", state);
}

static void everything(int fd, const char *what) {
  state = what;
  lingers(fd);
  timeouts(fd);
  names(fd);
  lengths(fd);
  sweep(fd);
  setTogether(fd);
  readAll(fd);
}

// MARK: Sockets in every state

static void script(void) {
  int fd = makeSocket(address);
  everything(fd, "fresh");
  close(fd);

  listener = makeListener(address);
  state = "accepted of a plain listener";
  fd = acceptOne();
  readAll(fd);
  everything(fd, "accepted");
  order('f', 0);
  everything(fd, "after the peer's FIN");
  shutdown(fd, SHUT_WR);
  settle();
  everything(fd, "after both FINs");
  close(fd);
  ordered('x', 0, NULL);

  fd = acceptOne();
  shutdown(fd, SHUT_WR);
  settle();
  everything(fd, "half-closed");
  close(fd);
  ordered('x', 0, NULL);

  fd = acceptOne();
  order('r', 0);
  everything(fd, "reset");
  close(fd);

  fd = makeSocket(address);
  state = "before connect";
  setTogether(fd);
  connectOne(fd);
  state = "connected with options";
  readAll(fd);
  close(fd);
  ordered('x', 0, NULL);

  fd = makeSocket(address);
  connectOne(fd);
  state = "connected as new";
  readAll(fd);
  everything(fd, "connected");
  close(fd);
  ordered('x', 0, NULL);

  everything(listener, "listening");
  fd = acceptOne();
  state = "accepted with options";
  readAll(fd);
  close(fd);
  ordered('x', 0, NULL);
  close(listener);
}

// MARK: What differs, and why

static const struct difference list[] = {
    // The kernel differs from itself.
    {"SOCKET 57 ", NULL, "SO_COOKIE: a number of the socket alone"},
    {"lengths 1 57 get ", NULL, "SO_COOKIE"},
    {"lengths 1 28 get ", NULL, "SO_PEERNAME: the peer's port is another one"},
    {"SOCKET 50 set 5 ", NULL, "SO_ATTACH_BPF: what the descriptor 5 is"},
    {"SOCKET 52 set 5 ", NULL, "SO_ATTACH_REUSEPORT_EBPF: what the descriptor 5 is"},
    {"SOCKET 55 get", NULL, "SO_MEMINFO: memory of the kernel"},
    {"SOCKET 56 get", NULL, "SO_INCOMING_NAPI_ID: there is none"},
    {"SOCKET 49 get", NULL, "SO_INCOMING_CPU: where the engine is, not where the interrupt was"},
    {"TCP 24 get", NULL, "TCP_TIMESTAMP: a clock"},
    {"TCP 26 get", NULL, "TCP_CC_INFO: measured"},
    {"IP 52 get", NULL, "IP_PROTOCOL: the local port"},

    // The engine's own numbers.
    {"SOCKET 7 get, at first", NULL, "SO_SNDBUF that was not set: what the shim allows"},
    {"SOCKET 7 get, later, accepted of a plain", NULL, "SO_SNDBUF"},
    {"SOCKET 7 get, later, connected as new", NULL, "SO_SNDBUF"},
    {"SOCKET 7 get, as before", NULL, "SO_SNDBUF: twice what was read before"},
    {"IP 14 get", NULL, "IP_MTU: the kernel forgets the route when options that concern it change"},
    {"IP 33 get", NULL, "IP_MULTICAST_TTL: Linux stores the time to live of the connection there"},
    {"TCP 10 get", NULL, "TCP_WINDOW_CLAMP that was not set: the kernel's bound of the window"},
    {"TCP 10 set as before", NULL, "TCP_WINDOW_CLAMP: what was read before"},
    {"IPV6 17 get", NULL, "IPV6_MULTICAST_IF: Linux stores the interface of the connection there"},
    {"IPV6 18 get", NULL, "IPV6_MULTICAST_HOPS: Linux stores those of the connection there"},
    {"IPV6 24 ", NULL, "IPV6_MTU: as IP_MTU"},
    {"IPV6 61 get", NULL, "IPV6_PATHMTU: as IP_MTU"},
    {"TCP 28 get", NULL, "TCP_SAVED_SYN: engines keep no packets"},

    // The kernel's socket is closed as soon as its FIN is acknowledged; the shim does not ask.
    {"TCP 2 get", "after both FINs", "TCP_MAXSEG of a closed socket"},
    {"lengths 6 2 get", "after both FINs", "TCP_MAXSEG of a closed socket"},
    {"TCP 10 set 0 ", "after both FINs", "TCP_WINDOW_CLAMP of a closed socket"},
    {"TCP 23 ", "after both FINs", "TCP_FASTOPEN of a closed socket"},
    {"TCP 30 ", "after both FINs", "TCP_FASTOPEN_CONNECT of a closed socket"},
    {"TCP 34 ", "after both FINs", "TCP_FASTOPEN_NO_COOKIE of a closed socket"},
    {"TCP 23 ", "reset", "TCP_FASTOPEN of a closed socket"},
    {"TCP 30 ", "reset", "TCP_FASTOPEN_CONNECT of a closed socket"},
    {"TCP 34 ", "reset", "TCP_FASTOPEN_NO_COOKIE of a closed socket"},
    {"IPV6 26 ", "reset", "IPV6_V6ONLY of a closed socket"},
    {"IPV6 26 ", "after both FINs", "IPV6_V6ONLY of a closed socket"},

    // Refused on connections, with ENOPROTOOPT, EOPNOTSUPP or EPERM: docs/options.md.
    {"SOCKET 25 ", NULL, "SO_BINDTODEVICE"},
    {"SOCKET 26 ", NULL, "SO_ATTACH_FILTER"},
    {"SOCKET 37 ", NULL, "SO_TIMESTAMPING"},
    {"SOCKET 41 ", NULL, "SO_WIFI_STATUS"},
    {"SOCKET 42 ", NULL, "SO_PEEK_OFF"},
    {"SOCKET 43 ", NULL, "SO_NOFCS"},
    {"SOCKET 50 ", NULL, "SO_ATTACH_BPF"},
    {"SOCKET 52 ", NULL, "SO_ATTACH_REUSEPORT_EBPF"},
    {"SOCKET 60 ", NULL, "SO_ZEROCOPY"},
    {"SOCKET 62 ", NULL, "SO_BINDTOIFINDEX"},
    {"SOCKET 63 ", NULL, "SO_TIMESTAMP_NEW"},
    {"SOCKET 64 ", NULL, "SO_TIMESTAMPNS_NEW"},
    {"SOCKET 65 ", NULL, "SO_TIMESTAMPING_NEW"},
    {"SOCKET 70 ", NULL, "SO_BUSY_POLL_BUDGET"},
    {"SOCKET 72 ", NULL, "SO_BUF_LOCK"},
    {"SOCKET 74 ", NULL, "SO_TXREHASH"},
    {"SOCKET 75 ", NULL, "SO_RCVMARK"},
    {"SOCKET 82 ", NULL, "SO_RCVPRIORITY"},
    {"TCP 14 ", NULL, "TCP_MD5SIG"},
    {"TCP 32 ", NULL, "TCP_MD5SIG_EXT"},
    {"TCP 35 get", NULL, "TCP_ZEROCOPY_RECEIVE"},
    {"TCP 37 ", NULL, "TCP_TX_DELAY"},
    {"TCP 44 ", NULL, "TCP_RTO_MAX_MS"},
    {"TCP 45 ", NULL, "TCP_RTO_MIN_US"},
    {"TCP 46 ", NULL, "TCP_DELACK_MAX_US"},
    {"IP 6 ", NULL, "IP_RECVOPTS"},
    {"IP 7 ", NULL, "IP_RETOPTS"},
    {"IP 18 ", NULL, "IP_PASSSEC"},
    {"IP 20 ", NULL, "IP_ORIGDSTADDR"},
    {"IP 21 ", NULL, "IP_MINTTL"},
    {"IP 23 ", NULL, "IP_CHECKSUM"},
    {"IP 26 ", NULL, "IP_RECVERR_RFC4884"},
    {"IP 34 ", NULL, "IP_MULTICAST_LOOP"},
    {"IP 49 ", NULL, "IP_MULTICAST_ALL"},
    {"IP 50 ", NULL, "IP_UNICAST_IF"},
    {"IP 51 ", NULL, "IP_LOCAL_PORT_RANGE"},
    {"IPV6 1 ", NULL, "IPV6_ADDRFORM"},
    {"IPV6 2 ", NULL, "IPV6_2292PKTINFO"},
    {"IPV6 3 ", NULL, "IPV6_2292HOPOPTS"},
    {"IPV6 4 ", NULL, "IPV6_2292DSTOPTS"},
    {"IPV6 5 ", NULL, "IPV6_2292RTHDR"},
    {"IPV6 8 ", NULL, "IPV6_2292HOPLIMIT"},
    {"IPV6 11 ", NULL, "IPV6_FLOWINFO"},
    {"IPV6 19 ", NULL, "IPV6_MULTICAST_LOOP"},
    {"IPV6 29 ", NULL, "IPV6_MULTICAST_ALL"},
    {"IPV6 30 ", NULL, "IPV6_ROUTER_ALERT_ISOLATE"},
    {"IPV6 31 ", NULL, "IPV6_RECVERR_RFC4884"},
    {"IPV6 33 ", NULL, "IPV6_FLOWINFO_SEND"},
    {"IPV6 53 ", NULL, "IPV6_RECVHOPOPTS"},
    {"IPV6 56 ", NULL, "IPV6_RECVRTHDR"},
    {"IPV6 58 ", NULL, "IPV6_RECVDSTOPTS"},
    {"IPV6 60 ", NULL, "IPV6_RECVPATHMTU"},
    {"IPV6 62 ", NULL, "IPV6_DONTFRAG"},
    {"IPV6 70 ", NULL, "IPV6_AUTOFLOWLABEL"},
    {"IPV6 72 ", NULL, "IPV6_ADDR_PREFERENCES"},
    {"IPV6 73 ", NULL, "IPV6_MINHOPCOUNT"},
    {"IPV6 74 ", NULL, "IPV6_ORIGDSTADDR"},
    {"IPV6 77 ", NULL, "IPV6_RECVFRAGSIZE"},
};

int main(int count, char **words) {
  return runModel(count, words, script, list, sizeof list / sizeof *list);
}
