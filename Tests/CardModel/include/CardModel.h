// A model of what the kernel's driver for the Intel 82599 (ixgbe) answers to ethtool requests, with the
// limits that card and driver have. In a process by itself for unit tests; as a preloaded library
// (CardModel.c) for the programs fsd and ethtool.
#pragma once
#include <stdint.h>

#define CARD_CAPACITY 2046
#define CARD_TABLE_SIZE 128
#define CARD_KEY_SIZE 40
#define CARD_MAXIMUM_QUEUES 64
#define CARD_RULE_SIZE 168
// As many as Swift can see.
#define CARD_LOG_SIZE 4096

struct card {
  // Features: on or off, in the order of their names in CardModel.c.
  uint8_t features[8];
  uint32_t queues, maximum_queues;
  uint32_t receive_ring, transmit_ring;
  // Perfect filters as struct ethtool_rx_flow_spec; present or not.
  uint8_t present[CARD_CAPACITY];
  uint8_t rules[CARD_CAPACITY][CARD_RULE_SIZE];
  uint32_t rule_count;
  // Whether rules for IPv6 are taken, as other cards do.
  uint32_t takes_ipv6;
  uint8_t key[CARD_KEY_SIZE];
  uint32_t table[CARD_TABLE_SIZE];
  uint64_t match, miss;
  // Every command that changes something, in order.
  uint32_t log_count;
  uint32_t log[CARD_LOG_SIZE];
};

// A card as it is after the driver has been loaded, with this many queues of at most 64.
void card_initialize(struct card *_Nonnull card, uint32_t queues, uint32_t maximum_queues);

// Carries out the ethtool request at `request`, which is long enough for what it says. Returns 0 or an
// errno value.
int card_exchange(struct card *_Nonnull card, void *_Nonnull request);

// A reset of the device that loses filters and table.
void card_reset(struct card *_Nonnull card);
