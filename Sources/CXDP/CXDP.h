// libxdp, libbpf and the kernel's interfaces to network devices, for Swift.
#pragma once
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <xdp/xsk.h>

// Newer than the headers of Debian 12: the descriptors one sendto() may transmit in copy mode.
// Linux 6.17 and later.
#define FS_XDP_MAX_TX_SKB_BUDGET 9
