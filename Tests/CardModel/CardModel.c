// See CardModel.h. What the driver does is taken from Linux's ixgbe_ethtool.c and ixgbe_main.c.
//
// Compiled with -DCARD_PRELOAD and -shared this is a library that, preloaded, answers SIOCETHTOOL for the
// interfaces FS_CARD_INTERFACES (names between spaces) from the cards in the files FS_CARD_STATE.NAME, and
// appends the bytes of each request that inserts a rule to FS_CARD_LOG, a line of hexadecimal digits each.
#define _GNU_SOURCE
#include "CardModel.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <stddef.h>
#include <string.h>

static const char *const features[] = {
    "rx-checksum", "rx-lro", "rx-vlan-hw-parse", "rx-ntuple-filter", "rx-hashing"};
enum { FEATURES = sizeof features / sizeof *features, LRO = 1, NTUPLE = 3 };

static const char *const statistics[] = {"rx_packets", "tx_packets", "fdir_match", "fdir_miss"};
enum { STATISTICS = sizeof statistics / sizeof *statistics };

_Static_assert(sizeof(struct ethtool_rx_flow_spec) == CARD_RULE_SIZE, "the kernel's layout");

static void default_table(struct card *card) {
  // Entries have four bits.
  uint32_t reach = card->queues < 16 ? card->queues : 16;
  for (uint32_t i = 0; i < CARD_TABLE_SIZE; i++) card->table[i] = i % reach;
}

void card_initialize(struct card *card, uint32_t queues, uint32_t maximum_queues) {
  memset(card, 0, sizeof *card);
  card->queues = queues;
  card->maximum_queues = maximum_queues;
  card->receive_ring = card->transmit_ring = 512;
  card->features[0] = card->features[LRO] = card->features[2] = 1;
  for (int i = 0; i < CARD_KEY_SIZE; i++) card->key[i] = (uint8_t)(i * 37 + 11);
  default_table(card);
}

static void lose_rules(struct card *card) {
  memset(card->present, 0, sizeof card->present);
  card->rule_count = 0;
}

void card_reset(struct card *card) {
  lose_rules(card);
  default_table(card);
}

static int channels(struct card *card, struct ethtool_channels *request) {
  if (request->cmd == ETHTOOL_GCHANNELS) {
    memset((char *)request + 4, 0, sizeof *request - 4);
    request->max_combined = card->maximum_queues;
    request->max_other = request->other_count = 1;
    request->combined_count = card->queues;
    return 0;
  }
  if (request->rx_count || request->tx_count || request->other_count != 1) return EINVAL;
  if (request->combined_count < 1 || request->combined_count > card->maximum_queues) return EINVAL;
  card->queues = request->combined_count;
  // The device is set up anew; rules are kept by the driver and written back, the table is not.
  default_table(card);
  return 0;
}

static int rings(struct card *card, struct ethtool_ringparam *request) {
  if (request->cmd == ETHTOOL_GRINGPARAM) {
    memset((char *)request + 4, 0, sizeof *request - 4);
    request->rx_max_pending = request->tx_max_pending = 4096;
    request->rx_pending = card->receive_ring;
    request->tx_pending = card->transmit_ring;
    return 0;
  }
  if (request->rx_mini_pending || request->rx_jumbo_pending) return EINVAL;
  if (request->rx_pending > 4096 || request->tx_pending > 4096) return EINVAL;
  card->receive_ring = request->rx_pending;
  card->transmit_ring = request->tx_pending;
  return 0;
}

static int set_features(struct card *card, struct ethtool_sfeatures *request) {
  if (request->size < 1) return EINVAL;
  for (int i = 0; i < FEATURES; i++) {
    if (!(request->features[0].valid & 1u << i)) continue;
    int on = (request->features[0].requested & 1u << i) != 0;
    // With ntuple the device changes between hashing of flows and perfect filters.
    if (i == NTUPLE && !on) lose_rules(card);
    card->features[i] = (uint8_t)on;
  }
  return 0;
}

static int strings(uint32_t set, const char *const **names) {
  if (set == ETH_SS_FEATURES) return *names = features, FEATURES;
  if (set == ETH_SS_STATS) return *names = statistics, STATISTICS;
  return 0;
}

static int rule_is_valid(struct card *card, const struct ethtool_rx_flow_spec *rule) {
  int type = (int)(rule->flow_type & ~FLOW_EXT);
  int is_ipv6 = type == TCP_V6_FLOW || type == UDP_V6_FLOW;
  int is_ipv4 = type == TCP_V4_FLOW || type == UDP_V4_FLOW || type == SCTP_V4_FLOW;
  if (!is_ipv4 && !(is_ipv6 && card->takes_ipv6)) return 0;
  if (rule->location >= CARD_CAPACITY) return 0;
  if (rule->ring_cookie != RX_CLS_FLOW_DISC && rule->ring_cookie >= card->queues) return 0;
  return 1;
}

// The one mask that all rules share. Ports of both IP versions go into the same register, as those
// of both protocols do.
static void ports_mask(const struct ethtool_rx_flow_spec *rule, uint16_t mask[2]) {
  int type = (int)(rule->flow_type & ~FLOW_EXT);
  const struct ethtool_tcpip6_spec *six = &rule->m_u.tcp_ip6_spec;
  const struct ethtool_tcpip4_spec *four = &rule->m_u.tcp_ip4_spec;
  int is_ipv6 = type == TCP_V6_FLOW || type == UDP_V6_FLOW;
  mask[0] = is_ipv6 ? six->psrc : four->psrc;
  mask[1] = is_ipv6 ? six->pdst : four->pdst;
}

static int same_mask(const struct ethtool_rx_flow_spec *a, const struct ethtool_rx_flow_spec *b) {
  uint16_t ports_a[2], ports_b[2];
  ports_mask(a, ports_a);
  ports_mask(b, ports_b);
  if (memcmp(ports_a, ports_b, sizeof ports_a)) return 0;
  if ((a->flow_type & ~FLOW_EXT) != (b->flow_type & ~FLOW_EXT)) return 1;
  return !memcmp(&a->m_u, &b->m_u, sizeof a->m_u) && !memcmp(&a->m_ext, &b->m_ext, sizeof a->m_ext);
}

static int insert_rule(struct card *card, const struct ethtool_rx_flow_spec *rule) {
  if (!card->features[NTUPLE]) return EOPNOTSUPP;
  if (!rule_is_valid(card, rule)) return EINVAL;
  for (int i = 0; i < CARD_CAPACITY; i++) {
    const struct ethtool_rx_flow_spec *other = (const void *)card->rules[i];
    if (!card->present[i] || (uint32_t)i == rule->location) continue;
    if (!same_mask(rule, other)) return EINVAL;
    break;
  }
  if (!card->present[rule->location]) card->rule_count++;
  card->present[rule->location] = 1;
  memcpy(card->rules[rule->location], rule, sizeof *rule);
  return 0;
}

static int flows(struct card *card, struct ethtool_rxnfc *request) {
  uint32_t location = request->fs.location;
  switch (request->cmd) {
    case ETHTOOL_GRXRINGS:
      request->data = card->queues;
      return 0;
    case ETHTOOL_GRXFH:
      request->data = RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3;
      return request->flow_type == TCP_V4_FLOW || request->flow_type == TCP_V6_FLOW ? 0 : EINVAL;
    case ETHTOOL_GRXCLSRLCNT:
      request->rule_cnt = card->rule_count;
      request->data = CARD_CAPACITY;
      return 0;
    case ETHTOOL_GRXCLSRULE:
      if (location >= CARD_CAPACITY || !card->present[location]) return EINVAL;
      memcpy(&request->fs, card->rules[location], sizeof request->fs);
      return 0;
    case ETHTOOL_GRXCLSRLALL: {
      uint32_t count = 0;
      for (uint32_t i = 0; i < CARD_CAPACITY; i++) {
        if (!card->present[i]) continue;
        if (count == request->rule_cnt) return EMSGSIZE;
        request->rule_locs[count++] = i;
      }
      request->rule_cnt = count;
      request->data = CARD_CAPACITY;
      return 0;
    }
    case ETHTOOL_SRXCLSRLINS:
      return insert_rule(card, &request->fs);
    case ETHTOOL_SRXCLSRLDEL:
      if (location >= CARD_CAPACITY || !card->present[location]) return EINVAL;
      card->present[location] = 0;
      card->rule_count--;
      return 0;
    default:
      return EOPNOTSUPP;
  }
}

static int hash(struct card *card, struct ethtool_rxfh *request) {
  uint32_t entries = request->indir_size, key_size = request->key_size;
  char *key = (char *)(request->rss_config + CARD_TABLE_SIZE);
  if (request->cmd == ETHTOOL_SRSSH) {
    if (entries == CARD_TABLE_SIZE) {
      for (uint32_t i = 0; i < entries; i++) {
        if (request->rss_config[i] >= card->queues || request->rss_config[i] >= 16) return EINVAL;
      }
      memcpy(card->table, request->rss_config, sizeof card->table);
    } else if (entries == 0) {
      default_table(card);
    }
    if (key_size == CARD_KEY_SIZE)
      memcpy(card->key, request->rss_config + (entries == CARD_TABLE_SIZE ? entries : 0), key_size);
    return 0;
  }
  request->indir_size = CARD_TABLE_SIZE;
  request->key_size = CARD_KEY_SIZE;
  request->hfunc = 1;
  if (entries == 0 && key_size == 0) return 0;
  if (entries != CARD_TABLE_SIZE || key_size != CARD_KEY_SIZE) return EINVAL;
  memcpy(request->rss_config, card->table, sizeof card->table);
  memcpy(key, card->key, sizeof card->key);
  return 0;
}

static int answer(struct card *card, void *bytes) {
  const char *const *names;
  switch (*(uint32_t *)bytes) {
    case ETHTOOL_GDRVINFO: {
      struct ethtool_drvinfo *info = bytes;
      memset((char *)info + 4, 0, sizeof *info - 4);
      strcpy(info->driver, "ixgbe");
      strcpy(info->bus_info, "0000:01:00.0");
      info->n_stats = STATISTICS;
      return 0;
    }
    case ETHTOOL_GSSET_INFO: {
      struct ethtool_sset_info *info = bytes;
      uint64_t asked = info->sset_mask;
      int found = 0;
      info->sset_mask = 0;
      for (uint32_t set = 0; set < 64; set++) {
        int count = asked >> set & 1 ? strings(set, &names) : 0;
        if (!count) continue;
        info->sset_mask |= 1ull << set;
        info->data[found++] = (uint32_t)count;
      }
      return 0;
    }
    case ETHTOOL_GSTRINGS: {
      struct ethtool_gstrings *info = bytes;
      uint32_t count = (uint32_t)strings(info->string_set, &names);
      if (info->len < count) count = info->len;
      info->len = count;
      memset(info->data, 0, count * ETH_GSTRING_LEN);
      for (uint32_t i = 0; i < count; i++) {
        memcpy(info->data + i * ETH_GSTRING_LEN, names[i], strlen(names[i]));
      }
      return 0;
    }
    case ETHTOOL_GFEATURES: {
      struct ethtool_gfeatures *info = bytes;
      memset(info->features, 0, info->size * sizeof *info->features);
      if (info->size < 1) return EINVAL;
      info->features[0].available = (1u << FEATURES) - 1;
      for (int i = 0; i < FEATURES; i++) info->features[0].active |= (uint32_t)card->features[i] << i;
      info->size = 1;
      return 0;
    }
    case ETHTOOL_SFEATURES:
      return set_features(card, bytes);
    case ETHTOOL_GSTATS: {
      struct ethtool_stats *info = bytes;
      memset(info->data, 0, sizeof(uint64_t) * STATISTICS);
      info->data[2] = card->match;
      info->data[3] = card->miss;
      info->n_stats = STATISTICS;
      return 0;
    }
    case ETHTOOL_GCHANNELS:
    case ETHTOOL_SCHANNELS:
      return channels(card, bytes);
    case ETHTOOL_GRINGPARAM:
    case ETHTOOL_SRINGPARAM:
      return rings(card, bytes);
    case ETHTOOL_GRSSH:
    case ETHTOOL_SRSSH:
      return hash(card, bytes);
    default:
      return flows(card, bytes);
  }
}

int card_exchange(struct card *card, void *request) {
  uint32_t command = *(uint32_t *)request;
  int result = answer(card, request);
  switch (command) {
    case ETHTOOL_SCHANNELS:
    case ETHTOOL_SRINGPARAM:
    case ETHTOOL_SFEATURES:
    case ETHTOOL_SRXCLSRLINS:
    case ETHTOOL_SRXCLSRLDEL:
    case ETHTOOL_SRSSH:
      if (result == 0 && card->log_count < CARD_LOG_SIZE) card->log[card->log_count++] = command;
  }
  return result;
}

#ifdef CARD_PRELOAD
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CARDS = 8 };

// The card in an interface's file, made with one queue of two if it is empty.
static struct card *shared_card(const char *interface) {
  static struct { char interface[IFNAMSIZ]; struct card *card; } cards[CARDS];
  int place = 0;
  for (; place < CARDS && cards[place].card; place++) {
    if (!strcmp(cards[place].interface, interface)) return cards[place].card;
  }
  const char *base = getenv("FS_CARD_STATE");
  char path[512];
  if (!base || place == CARDS) return NULL;
  snprintf(path, sizeof path, "%s.%s", base, interface);
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) return NULL;
  void *memory = MAP_FAILED;
  if (!ftruncate(file, sizeof(struct card)))
    memory = mmap(NULL, sizeof(struct card), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return NULL;
  struct card *card = memory;
  if (!card->queues) card_initialize(card, 1, 2);
  snprintf(cards[place].interface, IFNAMSIZ, "%s", interface);
  return cards[place].card = card;
}

// Whether a name is one of those in the environment.
static int is_modelled(const char *interface) {
  const char *names = getenv("FS_CARD_INTERFACES");
  size_t length = strnlen(interface, IFNAMSIZ);
  for (const char *at = names; at && length && (at = strstr(at, interface)); at += length) {
    if ((at == names || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ')) return 1;
  }
  return 0;
}

static void record(const void *request) {
  const char *path = getenv("FS_CARD_LOG");
  FILE *log = path ? fopen(path, "ae") : NULL;
  if (!log) return;
  const unsigned char *bytes = request;
  for (size_t i = 0; i < sizeof(struct ethtool_rxnfc); i++) fprintf(log, "%02x", bytes[i]);
  fprintf(log, "\n");
  fclose(log);
}

int ioctl(int descriptor, unsigned long request, ...) {
  static int (*next)(int, unsigned long, ...);
  if (!next) next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  struct ifreq *named = argument;
  if (request != SIOCETHTOOL || !is_modelled(named->ifr_name)) {
    return next(descriptor, request, argument);
  }
  struct card *card = shared_card(named->ifr_name);
  if (!card) return errno = EIO, -1;
  if (*(uint32_t *)named->ifr_data == ETHTOOL_SRXCLSRLINS) record(named->ifr_data);
  int code = card_exchange(card, named->ifr_data);
  return code ? (errno = code, -1) : 0;
}
#endif
