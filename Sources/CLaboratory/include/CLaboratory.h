// What the laboratory needs from glibc and neither Foundation nor Glibc gives to Swift. It is apart
// from CLinux because that defines _GNU_SOURCE, under which fd_set differs from the one in
// Foundation. The GNU-only functions are therefore declared here.
#pragma once
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

extern char **environ;

int setns(int descriptor, int kind);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set);

#define LAB_CLONE_NEWNET 0x40000000

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
