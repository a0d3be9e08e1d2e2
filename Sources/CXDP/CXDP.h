// libxdp, libbpf and the kernel's interfaces to network devices, for Swift.
#pragma once
#include <errno.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xdp/xsk.h>

// Newer than the headers of Debian 12: the descriptors one sendto() may transmit in copy mode.
// Linux 6.17 and later.
#define FS_XDP_MAX_TX_SKB_BUDGET 9

// Asks for pages of one NUMA node, if it has any left (MPOL_PREFERRED of mbind(2)); 0 or an errno value. The C
// library has no such function.
static inline int fs_prefer_node(void *_Nonnull start, size_t length, int node) {
  enum { PREFERRED = 1, NODES = 1024, BITS = 8 * sizeof(unsigned long) };
  unsigned long mask[NODES / BITS] = {0};
  if (node < 0 || node >= NODES) return EINVAL;
  mask[node / BITS] = 1ul << node % BITS;
  return syscall(SYS_mbind, start, length, PREFERRED, mask, (unsigned long)NODES, 0u) ? errno : 0;
}
