// What the laboratory needs from glibc and neither Foundation nor Glibc gives to Swift. It is apart
// from CLinux because that defines _GNU_SOURCE, under which fd_set differs from the one in
// Foundation. The GNU-only functions are therefore declared here.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

int setns(int descriptor, int kind);
int unshare(int kinds);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);

#define LAB_CLONE_NEWNET 0x40000000

/* A network namespace for the calling thread alone. */
static inline int lab_unshare_network(void) { return unshare(LAB_CLONE_NEWNET); }

/* Sets one property of an interface; the request holds its value. */
static inline int lab_configure(int sock, const char *name, unsigned long what,
                                struct ifreq *request) {
  memset(request->ifr_name, 0, sizeof request->ifr_name);
  strncpy(request->ifr_name, name, sizeof request->ifr_name - 1);
  return ioctl(sock, what, request);
}

/* Makes a TUN device for bare IP packets in the thread's namespace, with an address (network order)
   and up. Returns its nonblocking descriptor, or -1. */
static inline int lab_open_tun(const char *name, uint32_t address, int prefix, int mtu) {
  struct ifreq request = {0};
  struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr.s_addr = address};
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int failed = device < 0 || sock < 0;
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  failed = failed || lab_configure(device, name, TUNSETIFF, &request);
  memcpy(&request.ifr_addr, &value, sizeof value);
  failed = failed || lab_configure(sock, name, SIOCSIFADDR, &request);
  value.sin_addr.s_addr = htonl(~0U << (32 - prefix));
  memcpy(&request.ifr_netmask, &value, sizeof value);
  failed = failed || lab_configure(sock, name, SIOCSIFNETMASK, &request);
  request.ifr_mtu = mtu;
  failed = failed || lab_configure(sock, name, SIOCSIFMTU, &request);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  failed = failed || lab_configure(sock, name, SIOCSIFFLAGS, &request);
  if (sock >= 0) close(sock);
  if (!failed) return device;
  if (device >= 0) close(device);
  return -1;
}

/* A packet socket for everything that arrives at an interface of the thread's namespace, and nothing
   that leaves there. Returns its descriptor, or -1. */
static inline int lab_open_packet_socket(const char *name) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  int room = 32 << 20, on = 1;
  int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (sock < 0) return -1;
  setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  address.sll_ifindex = if_nametoindex(name);
  if (address.sll_ifindex != 0 &&
      setsockopt(sock, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) == 0 &&
      bind(sock, (struct sockaddr *)&address, sizeof address) == 0)
    return sock;
  close(sock);
  return -1;
}

int ppoll(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout,
          const sigset_t *mask);

/* Waits until one of two descriptors can be read, or for so many nanoseconds (under a second). */
static inline void lab_wait(int first, int second, uint64_t nanoseconds) {
  struct pollfd descriptors[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
  struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)nanoseconds};
  ppoll(descriptors, 2, &timeout, NULL);
}

static inline char **lab_environment(void) { return environ; }

static inline int lab_pin_to_core(int core) {
  cpu_set_t set = {{0}};
  set.__bits[core / 64] = 1UL << (core % 64);
  return sched_setaffinity(0, sizeof set, &set);
}

/* As many open files as the hard limit allows. */
static inline int lab_raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit);
}

static inline void lab_buffer_output_by_line(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

/* Counts an event of one core, whoever runs there. Returns a descriptor from which the count can be read,
   or -1. */
static inline int lab_count_event(uint32_t type, uint64_t event, int core) {
  struct perf_event_attr attributes = {.type = type, .size = sizeof attributes, .config = event};
  return (int)syscall(SYS_perf_event_open, &attributes, -1, core, -1, PERF_FLAG_FD_CLOEXEC);
}
