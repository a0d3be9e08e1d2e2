// Memory that both halves share, and what libc has to call.
#include "CShim.h"

#include <pthread.h>

uint32_t fs_descriptors[FS_DESCRIPTOR_LIMIT];
_Thread_local struct fs_thread fs_tls;
void *fs_process_memory;

static pthread_key_t thread_key;
static int thread_key_exists;
static int is_verbose;

static void thread_ends(void *unused) {
  (void)unused;
  int saved = errno;
  fs_thread_ends();
  errno = saved;
}

static void fork_prepare(void) {
  int saved = errno;
  fs_fork_prepare();
  errno = saved;
}

static void fork_parent(void) {
  int saved = errno;
  fs_fork_parent();
  errno = saved;
}

static void fork_child(void) {
  int saved = errno;
  fs_fork_child();
  errno = saved;
}

void fs_register_handlers(void) {
  thread_key_exists = pthread_key_create(&thread_key, thread_ends) == 0;
  pthread_atfork(fork_prepare, fork_parent, fork_child);
  const char *verbose = getenv("FSD_VERBOSE");
  is_verbose = verbose && *verbose && strcmp(verbose, "0") != 0;
}

void fs_remember_thread(void) {
  if (thread_key_exists) pthread_setspecific(thread_key, &fs_tls);
}

void fs_report(const char *text, long number) {
  if (!is_verbose) return;
  char line[160];
  int length = snprintf(line, sizeof line, "fsocket[%d]: %s (%ld)\n", fs_sys_getpid(), text, number);
  if (length > 0) fs_sys_write(2, line, (unsigned long)length);
}
