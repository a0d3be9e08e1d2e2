// Instructions for which Swift has no name.
#pragma once

// Asks for a cache line that is about to be read. Nothing happens if the address is not mapped.
static inline void fs_prefetch(const void *_Nonnull address) {
  __builtin_prefetch(address, 0, 3);
}
