#define _GNU_SOURCE
#include "CIsolation.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);
size_t malloc_usable_size(void *);

// A region for each core, and one for nobody before them. Pages appear when they are touched.
enum { REGION = 1 << 30, HEADER = 16, CLASSES = 40, CORE_KEYS = 14 };

struct region {
  size_t used;
  // Freed blocks by the logarithm of their size. The lists stand in the blocks themselves.
  void *free[CLASSES];
};

static char *memory;
static int cores, turn;
static _Thread_local int current = ISOLATION_NOBODY;
static bool is_watching;
static int inside = ISOLATION_NOBODY;
static uint64_t entries;

static char *region(int core) { return memory + (size_t)(core + 1) * REGION; }

// What is known of a region stands in its own first page.
static struct region *head(int core) { return (struct region *)region(core); }

static bool is_ours(const void *block) {
  return memory && (const char *)block >= memory && (const char *)block < region(cores);
}

static int class_of(size_t size) {
  return size <= 16 ? 4 : 64 - __builtin_clzl(size - 1);
}

// A block of a power of two, behind a header with its size; larger alignments are met within.
static void *take(size_t size, size_t alignment) {
  if (alignment < HEADER) alignment = HEADER;
  size_t whole = size + (alignment > HEADER ? alignment : 0);
  int class = class_of(whole);
  struct region *own = head(current);
  char *block = alignment == HEADER ? own->free[class] : NULL;
  if (block) {
    memcpy(&own->free[class], block, sizeof(void *));
  } else {
    size_t bytes = HEADER + ((size_t)1 << class);
    if (own->used + bytes > REGION) {
      static const char message[] = "isolation: a region is full\n";
      (void)!write(2, message, sizeof message - 1);
      _exit(4);
    }
    block = region(current) + own->used + HEADER;
    own->used += bytes;
  }
  char *aligned = (char *)(((uintptr_t)block + alignment - 1) & ~(alignment - 1));
  // Before the block: how much room there is, and whether the block may be used again.
  size_t room = ((size_t)1 << class) - (size_t)(aligned - block);
  memcpy(aligned - 16, &room, sizeof room);
  size_t reusable = aligned == block ? (size_t)class : 0;
  memcpy(aligned - 8, &reusable, sizeof reusable);
  return aligned;
}

static size_t room_of(void *block) {
  size_t room;
  memcpy(&room, (char *)block - 16, sizeof room);
  return room;
}

void *malloc(size_t size) { return memory ? take(size, HEADER) : __libc_malloc(size); }

void free(void *block) {
  if (!block) return;
  if (!is_ours(block)) {
    // Of before the beginning: it may be left.
    if (!memory) __libc_free(block);
    return;
  }
  size_t class;
  memcpy(&class, (char *)block - 8, sizeof class);
  // A block goes back to its own region, if that may be written now.
  int owner = (int)(((char *)block - memory) / REGION) - 1;
  if (!class || (inside != ISOLATION_NOBODY && inside != owner)) return;
  memcpy(block, &head(owner)->free[class], sizeof(void *));
  head(owner)->free[class] = block;
}

void *calloc(size_t count, size_t size) {
  if (!memory) return __libc_calloc(count, size);
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
  void *block = take(bytes, HEADER);
  memset(block, 0, bytes);
  return block;
}

void *realloc(void *block, size_t size) {
  if (!memory) return __libc_realloc(block, size);
  if (!block) return take(size, HEADER);
  size_t old = is_ours(block) ? room_of(block) : (malloc_usable_size)(block);
  if (is_ours(block) && old >= size) return block;
  void *larger = take(size, HEADER);
  memcpy(larger, block, old < size ? old : size);
  free(block);
  return larger;
}

void *memalign(size_t alignment, size_t size) {
  return memory ? take(size, alignment) : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
  *result = memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}

// Swift asks how much room an array has got.
size_t malloc_usable_size(void *block) {
  if (!block) return 0;
  if (is_ours(block)) return room_of(block);
  // glibc's own: the size stands before the block, its lowest bits are flags.
  size_t chunk = ((size_t *)block)[-1];
  return (chunk & ~(size_t)7) - (chunk & 2 ? 16 : 8);
}

static void touched(int signal, siginfo_t *information, void *context) {
  (void)signal;
  (void)context;
  char *address = information->si_addr;
  char message[200];
  if (is_ours(address)) {
    long owner = (address - memory) / REGION - 1;
    snprintf(message, sizeof message, "isolation: code of core %d touched memory of %s %ld\n", inside,
             owner < 0 ? "nobody," : "core", owner);
  } else {
    snprintf(message, sizeof message, "isolation: code of core %d touched %p\n", inside, (void *)address);
  }
  (void)!write(2, message, strlen(message));
  _exit(3);
}

// The key of what is nobody's, and those of cores.
static int nobody_key, core_keys[CORE_KEYS];

static int key_of(int core) { return core_keys[(core + (turn ? core / CORE_KEYS : 0)) % CORE_KEYS]; }

int isolation_begin(int count, int round) {
  cores = count;
  turn = round;
  size_t size = (size_t)(count + 1) * REGION;
  char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return errno;
  for (int key = 0; key < CORE_KEYS; key++) {
    core_keys[key] = pkey_alloc(0, 0);
    if (core_keys[key] < 0) return errno;
  }
  nobody_key = pkey_alloc(0, 0);
  if (nobody_key < 0) return errno;
  for (int core = -1; core < count; core++) {
    char *start = mapped + (size_t)(core + 1) * REGION;
    int key = core < 0 ? nobody_key : key_of(core);
    if (pkey_mprotect(start, REGION, PROT_READ | PROT_WRITE, key)) return errno;
    ((struct region *)start)->used = 4096;
  }
  struct sigaction action = {.sa_sigaction = touched, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  memory = mapped;
  return 0;
}

int isolation_allocate_for(int core) {
  int before = current;
  current = core;
  return before;
}

void isolation_watch(int on) { is_watching = on; }

// Two bits for each key: no access, no writing.
static void set_rights(uint32_t rights) {
#if defined(__x86_64__)
  __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(rights), "c"(0), "d"(0) : "memory");
#else
  (void)rights;
  abort();
#endif
}

void isolation_enter(int core) {
  current = core;
  if (!is_watching) return;
  entries++;
  inside = core;
  uint32_t rights = 2u << 2 * nobody_key;
  for (int key = 0; key < CORE_KEYS; key++) {
    if (core_keys[key] != key_of(core)) rights |= 1u << 2 * core_keys[key];
  }
  set_rights(rights);
}

void isolation_leave(void) {
  current = ISOLATION_NOBODY;
  if (inside == ISOLATION_NOBODY) return;
  inside = ISOLATION_NOBODY;
  set_rights(0);
}

void isolation_toggle_counting(void) { CALLGRIND_TOGGLE_COLLECT; }

uint64_t isolation_entries(void) { return entries; }

uint64_t isolation_bytes(int core) { return head(core)->used; }

void isolation_provoke(int from, int to) {
  isolation_watch(1);
  isolation_enter(from);
  *(volatile char *)(region(to) + 4096) = 1;
  isolation_leave();
}
