// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
//
// Which packets of an interface are ours.
//
// A packet goes to the AF_XDP socket of its receive queue only if it is TCP for an owned port on a
// managed address, or an ICMP error that quotes such a flow. Everything else, and everything this
// program does not understand, is the kernel's. A queue without a socket passes too: when the
// daemon is gone, the kernel serves.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// An IPv4 address a.b.c.d stands as ::ffff:a.b.c.d.
struct address {
  __be32 words[4];
};

struct port_key {
  struct address address;
  __be16 port;
  __u16 zero;
};

// What is said of a port. Sources/FSDevice/PortTable.swift mirrors it.
enum port_flags {
  // The kernel has, or may have, connections of its own on this port: ask it before redirecting.
  KERNEL_FLOWS = 1 << 0,
  // The listener is gone, its connections are not: new ones belong to the kernel.
  DRAINING = 1 << 1,
  // A listener on all addresses of the family; the two flags above are about it.
  LISTENER = 1 << 2,
  // Listeners on some addresses: `listeners` knows.
  SPECIFIC = 1 << 3,
  // The stack takes this port for connections that it opens itself.
  ACTIVE = 1 << 4,
  // The kernel has, or may have, sockets of its own on this port of the active range.
  ACTIVE_KERNEL_FLOWS = 1 << 5,
};

// Index of `counters`. Sources/FSDevice/XDPCounters.swift names them in the same order.
enum counter {
  REDIRECTED_TCP,
  REDIRECTED_ICMP,
  PASSED_NOT_IP,
  PASSED_MALFORMED,
  PASSED_FRAGMENT,
  PASSED_EXTENSION_HEADER,
  PASSED_OTHER_PROTOCOL,
  PASSED_OTHER_ADDRESS,
  PASSED_OTHER_PORT,
  PASSED_KERNEL_FLOW,
  PASSED_DRAINING,
  PASSED_NO_SOCKET,
  COUNTERS,
};

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 64);  // raised to the number of queues before loading
  __type(key, __u32);
  __type(value, __u32);
} xsks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u32);
} addresses SEC(".maps");

// The flags of listeners on one address, which win over those on all.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct port_key);
  __type(value, __u32);
} listeners SEC(".maps");

// A connection that the stack has handed over to the kernel. Sources/FSDevice/XDPProgram+Maps.swift
// mirrors it.
struct moved_flow {
  struct address local;
  struct address remote;
  __be16 local_port;
  __be16 remote_port;
};

// Flows whose last incarnation was handed over; only asked about when the kernel has a socket in
// TIME-WAIT. A SYN takes its flow out.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct moved_flow);
  __type(value, __u32);
} moved SEC(".maps");

// `enum port_flags` of every port: one load tells the kernel's traffic from ours, where a hash map
// costs 40 ns. The daemon writes through a mapping of this section; the program only what it finds of the
// kernel's in the active range.
__u8 ports[2 * 65536];  // IPv4, then IPv6

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

// ICMP and ICMPv6 alike. <linux/icmp.h> would drag in headers of the host's libc.
struct icmp_header {
  __u8 type;
  __u8 code;
  __sum16 checksum;
  __be32 rest;
};

enum icmp4_type {
  ICMP4_DESTINATION_UNREACHABLE = 3,
  ICMP4_TIME_EXCEEDED = 11,
  ICMP4_PARAMETER_PROBLEM = 12,
};

// Destination unreachable, packet too big, time exceeded, parameter problem.
enum icmp6_type {
  ICMP6_FIRST_ERROR = 1,
  ICMP6_LAST_ERROR = 4,
};

// The flow a packet belongs to, seen from this host.
struct flow {
  struct address local;
  struct address remote;
  __be16 local_port;
  __be16 remote_port;
  bool ipv4;
};

static __always_inline void count(__u32 index) {
  __u64 *value = bpf_map_lookup_elem(&counters, &index);
  if (value)
    (*value)++;
}

static __always_inline int pass(__u32 reason) {
  count(reason);
  return XDP_PASS;
}

static __always_inline struct address mapped(__be32 ipv4) {
  return (struct address){{0, 0, bpf_htonl(0xffff), ipv4}};
}

static __always_inline struct address copied(const struct in6_addr *ipv6) {
  const __be32 *words = ipv6->in6_u.u6_addr32;
  return (struct address){{words[0], words[1], words[2], words[3]}};
}

// Whether a socket in TIME-WAIT, or in FIN-WAIT-2 without an owner, keeps its flow. Not in general: the
// flow may begin anew, and then it is ours from the first SYN on. But the end of a connection that was
// handed over belongs to the kernel, too.
static __noinline bool time_wait_keeps(const struct flow *flow, bool opening) {
  struct moved_flow key = {.local = flow->local,
                           .remote = flow->remote,
                           .local_port = flow->local_port,
                           .remote_port = flow->remote_port};
  if (opening) {
    bpf_map_delete_elem(&moved, &key);
    return false;
  }
  return bpf_map_lookup_elem(&moved, &key) != NULL;
}

// Whether the kernel has a socket for the flow; a listening one counts only if `listening`.
static __always_inline bool kernel_has(struct xdp_md *ctx, const struct flow *flow, bool listening,
                                       bool opening) {
  struct bpf_sock_tuple tuple = {};
  __u32 size;
  if (flow->ipv4) {
    tuple.ipv4.saddr = flow->remote.words[3];
    tuple.ipv4.daddr = flow->local.words[3];
    tuple.ipv4.sport = flow->remote_port;
    tuple.ipv4.dport = flow->local_port;
    size = sizeof(tuple.ipv4);
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, flow->remote.words, sizeof(tuple.ipv6.saddr));
    __builtin_memcpy(tuple.ipv6.daddr, flow->local.words, sizeof(tuple.ipv6.daddr));
    tuple.ipv6.sport = flow->remote_port;
    tuple.ipv6.dport = flow->local_port;
    size = sizeof(tuple.ipv6);
  }
  struct bpf_sock *socket = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!socket)
    return false;
  __u32 state = socket->state;
  bpf_sk_release(socket);
  if (state == BPF_TCP_TIME_WAIT)
    return time_wait_keeps(flow, opening);
  return listening || state != BPF_TCP_LISTEN;
}

// What a packet has to do with the beginning of a connection.
enum beginning {
  NONE,
  OPENS,    // SYN without ACK
  ANSWERS,  // SYN with ACK
};

// Out of line, as every kind of packet comes here.
static __noinline int decide(struct xdp_md *ctx, const struct flow *flow, enum beginning beginning,
                             __u32 redirected) {
  bool opening = beginning == OPENS;
  __u32 port = bpf_ntohs(flow->local_port);
  __u32 flags = ports[flow->ipv4 ? port : 65536 + port];
  if (!flags)
    return pass(PASSED_OTHER_PORT);
  if (!bpf_map_lookup_elem(&addresses, &flow->local))
    return pass(PASSED_OTHER_ADDRESS);

  if (flags & SPECIFIC) {
    struct port_key key = {.address = flow->local, .port = flow->local_port};
    const __u32 *specific = bpf_map_lookup_elem(&listeners, &key);
    if (specific)
      flags = *specific | LISTENER;
  }
  if (flags & LISTENER) {
    if ((flags & KERNEL_FLOWS) && kernel_has(ctx, flow, false, opening))
      return pass(PASSED_KERNEL_FLOW);
    if ((flags & DRAINING) && opening)
      return pass(PASSED_DRAINING);
  } else if (flags & ACTIVE) {
    // No listener of ours is here, so one of the kernel's is as much its own as a connection. What it has
    // since the daemon has looked is found by the first packet of a connection, and asked about from then on.
    if (((flags & ACTIVE_KERNEL_FLOWS) || beginning != NONE) && kernel_has(ctx, flow, true, opening)) {
      if (!(flags & ACTIVE_KERNEL_FLOWS))
        ports[flow->ipv4 ? port : 65536 + port] |= ACTIVE_KERNEL_FLOWS;
      return pass(PASSED_KERNEL_FLOW);
    }
  } else {
    return pass(PASSED_OTHER_PORT);
  }

  int verdict = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
  count(verdict == XDP_REDIRECT ? redirected : PASSED_NO_SOCKET);
  return verdict;
}

static __always_inline int tcp(struct xdp_md *ctx, struct flow *flow, const struct tcphdr *header,
                               const void *end) {
  if ((const void *)(header + 1) > end)
    return pass(PASSED_MALFORMED);
  flow->local_port = header->dest;
  flow->remote_port = header->source;
  enum beginning beginning = !header->syn ? NONE : header->ack ? ANSWERS : OPENS;
  return decide(ctx, flow, beginning, REDIRECTED_TCP);
}

// The first fragment of a larger packet, of which only the ports are certain to be there. If the flow is
// ours it goes to the stack, which drops it: the kernel, which would have the later fragments, never
// sees the packet, and cannot answer with a RST what it knows nothing of.
static __always_inline int first_fragment(struct xdp_md *ctx, struct flow *flow,
                                          const __be16 *ports_at, const void *end) {
  if ((const void *)(ports_at + 2) > end)
    return pass(PASSED_MALFORMED);
  flow->remote_port = ports_at[0];
  flow->local_port = ports_at[1];
  return decide(ctx, flow, NONE, REDIRECTED_TCP);
}

// An ICMP error quotes a packet that this host sent: its source is local. Only the ports of the
// TCP header have to be there.
static __always_inline int quoted_ports(struct xdp_md *ctx, struct flow *flow,
                                        const __be16 *ports_at, const void *end) {
  if ((const void *)(ports_at + 2) > end)
    return pass(PASSED_MALFORMED);
  flow->local_port = ports_at[0];
  flow->remote_port = ports_at[1];
  return decide(ctx, flow, NONE, REDIRECTED_ICMP);
}

static __always_inline int icmp4(struct xdp_md *ctx, const struct icmp_header *header,
                                 const void *end) {
  if ((const void *)(header + 1) > end)
    return pass(PASSED_MALFORMED);
  if (header->type != ICMP4_DESTINATION_UNREACHABLE && header->type != ICMP4_TIME_EXCEEDED &&
      header->type != ICMP4_PARAMETER_PROBLEM)
    return pass(PASSED_OTHER_PROTOCOL);

  const struct iphdr *quoted = (const void *)(header + 1);
  if ((const void *)(quoted + 1) > end || quoted->version != 4 || quoted->ihl < 5)
    return pass(PASSED_MALFORMED);
  // Ports stand in the first fragment only.
  if (quoted->protocol != IPPROTO_TCP || (quoted->frag_off & bpf_htons(0x1fff)))
    return pass(PASSED_OTHER_PROTOCOL);
  struct flow flow = {
      .local = mapped(quoted->saddr), .remote = mapped(quoted->daddr), .ipv4 = true};
  return quoted_ports(ctx, &flow, (const void *)quoted + quoted->ihl * 4, end);
}

static __always_inline int icmp6(struct xdp_md *ctx, const struct icmp_header *header,
                                 const void *end) {
  if ((const void *)(header + 1) > end)
    return pass(PASSED_MALFORMED);
  if (header->type < ICMP6_FIRST_ERROR || header->type > ICMP6_LAST_ERROR)
    return pass(PASSED_OTHER_PROTOCOL);

  const struct ipv6hdr *quoted = (const void *)(header + 1);
  if ((const void *)(quoted + 1) > end || quoted->version != 6)
    return pass(PASSED_MALFORMED);
  if (quoted->nexthdr != IPPROTO_TCP)
    return pass(PASSED_OTHER_PROTOCOL);
  struct flow flow = {.local = copied(&quoted->saddr), .remote = copied(&quoted->daddr)};
  return quoted_ports(ctx, &flow, (const void *)(quoted + 1), end);
}

static __always_inline int ipv4(struct xdp_md *ctx, const struct iphdr *header, const void *end) {
  if ((const void *)(header + 1) > end || header->version != 4 || header->ihl < 5)
    return pass(PASSED_MALFORMED);
  // Later fragments have no ports; they are of no use without the first.
  if (header->frag_off & bpf_htons(0x1fff))
    return pass(PASSED_FRAGMENT);
  bool is_fragment = header->frag_off & bpf_htons(0x2000);
  const void *payload = (const void *)header + header->ihl * 4;
  if (header->protocol == IPPROTO_TCP) {
    struct flow flow = {
        .local = mapped(header->daddr), .remote = mapped(header->saddr), .ipv4 = true};
    return is_fragment ? first_fragment(ctx, &flow, payload, end) : tcp(ctx, &flow, payload, end);
  }
  if (is_fragment)
    return pass(PASSED_FRAGMENT);
  if (header->protocol == IPPROTO_ICMP)
    return icmp4(ctx, payload, end);
  return pass(PASSED_OTHER_PROTOCOL);
}

// As many as the stack walks (Sources/FSStack/Wire/NetworkLayer.swift).
#define MAXIMUM_EXTENSION_HEADERS 8

// Fragment, hop-by-hop, routing and destination options header begin alike.
struct extension_header {
  __u8 next;
  __u8 length;  // of the others: in units of eight bytes, the first not counted
  __be16 offset;  // of a fragment
  __be32 identification;
};

// Walks the extension headers, but judges none: what the stack does not accept it drops, where the
// kernel, which knows nothing of our flows, would answer with RST.
static __always_inline int ipv6(struct xdp_md *ctx, const struct ipv6hdr *header,
                                const void *end) {
  if ((const void *)(header + 1) > end || header->version != 6)
    return pass(PASSED_MALFORMED);
  const void *payload = header + 1;
  __u8 next = header->nexthdr;
  bool is_fragment = false;
  for (int i = 0; i <= MAXIMUM_EXTENSION_HEADERS; i++) {
    if (next == IPPROTO_TCP) {
      struct flow flow = {.local = copied(&header->daddr), .remote = copied(&header->saddr)};
      return is_fragment ? first_fragment(ctx, &flow, payload, end)
                         : tcp(ctx, &flow, payload, end);
    }
    if (next == IPPROTO_ICMPV6)
      return is_fragment ? pass(PASSED_FRAGMENT) : icmp6(ctx, payload, end);
    if (next == IPPROTO_AH)
      return pass(PASSED_EXTENSION_HEADER);
    if (next != IPPROTO_FRAGMENT && next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
        next != IPPROTO_DSTOPTS)
      return pass(is_fragment ? PASSED_FRAGMENT : PASSED_OTHER_PROTOCOL);

    const struct extension_header *extension = payload;
    if ((const void *)(extension + 1) > end)
      return pass(PASSED_MALFORMED);
    if (next == IPPROTO_FRAGMENT) {
      if (extension->offset & bpf_htons(0xfff8))
        return pass(PASSED_FRAGMENT);
      is_fragment |= extension->offset & bpf_htons(1);
      payload += sizeof(*extension);
    } else {
      payload += sizeof(*extension) + extension->length * 8;
    }
    next = extension->next;
  }
  return pass(PASSED_EXTENSION_HEADER);
}

struct vlan_header {
  __be16 control;
  __be16 type;
};

SEC("xdp")
int fastsocket(struct xdp_md *ctx) {
  const void *end = (const void *)(long)ctx->data_end;
  const struct ethhdr *ethernet = (const void *)(long)ctx->data;
  if ((const void *)(ethernet + 1) > end)
    return pass(PASSED_MALFORMED);

  const void *payload = ethernet + 1;
  __be16 type = ethernet->h_proto;
  if (type == bpf_htons(ETH_P_8021Q)) {
    const struct vlan_header *tag = payload;
    if ((const void *)(tag + 1) > end)
      return pass(PASSED_MALFORMED);
    type = tag->type;
    payload = tag + 1;
  }

  if (type == bpf_htons(ETH_P_IP))
    return ipv4(ctx, payload, end);
  if (type == bpf_htons(ETH_P_IPV6))
    return ipv6(ctx, payload, end);
  return pass(PASSED_NOT_IP);
}

char _license[] SEC("license") = "Dual BSD/GPL";
