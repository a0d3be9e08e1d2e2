// Memory of cores, and a check that code of one core touches no other's: `make scaling`.
//
// While it is switched on, malloc(3) and its like take memory from the region of the current core, or from
// that of nobody. Code of a core then runs with the regions of all other cores without access, and
// what is nobody's read-only. A touch ends the program with a message and status 3.
//
// By memory protection keys, of which a processor has 15 to give: cores share them, and are told apart by two
// rounds in which no two cores share one both times.
#pragma once
#include <stdint.h>

#define ISOLATION_NOBODY (-1)

// Reserves regions for cores 0 to count - 1 and begins to allocate from them. `round` is 0 or 1. Returns 0, or an
// errno value: ENOSPC where the processor has no protection keys.
int isolation_begin(int count, int round);

// Allocations are this core's from now on, or nobody's. Returns whose they were.
int isolation_allocate_for(int core);

// From now on regions are closed while code of a core runs.
void isolation_watch(int on);

// Code of a core begins, and ends.
void isolation_enter(int core);
void isolation_leave(void);

// Begins or ends counting of instructions, where the program runs under callgrind.
void isolation_toggle_counting(void);

// Times that code of a core has begun under watch, and bytes that a core has.
uint64_t isolation_entries(void);
uint64_t isolation_bytes(int core);

// Tries to write to a byte of another core from code of a core, which must end the program: that the
// check can fail.
void isolation_provoke(int from, int to);
