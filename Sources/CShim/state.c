// Memory that both halves share, and what libc has to call.
#include "CShim.h"

#include <pthread.h>

uint32_t fs_descriptors[FS_DESCRIPTOR_LIMIT];
_Thread_local struct fs_thread fs_tls;
void *fs_process_memory;

static pthread_key_t thread_key;
static int thread_key_exists;
static int is_verbose;
static bool is_accelerating_loopback;
static bool is_pinning;
static struct sockaddr_un control_address;
static socklen_t control_address_length;

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

static void find_control_address(void) {
  // A privileged program does not let its environment choose whom it talks to.
  const char *directory = secure_getenv("FSD_RUNTIME_DIR");
  if (!directory || !*directory) directory = "/run/fsd";
  static const char name[] = "/fsd.sock";
  size_t length = strlen(directory);
  if (length + sizeof name > sizeof control_address.sun_path) return;
  memcpy(control_address.sun_path, directory, length);
  memcpy(control_address.sun_path + length, name, sizeof name);
  control_address.sun_family = AF_UNIX;
  control_address_length =
      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + sizeof name);
}

int fs_control_connect(void) {
  if (control_address_length == 0) return -ENOENT;
  int control = fs_sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (control < 0) return control;
  int result;
  do result = fs_sys_connect(control, &control_address, control_address_length);
  while (result == -EINTR);
  if (result == 0) return control;
  fs_sys_close(control);
  return result;
}

static bool is_set(const char *name) {
  const char *value = getenv(name);
  return value && *value && strcmp(value, "0") != 0;
}

void fs_register_handlers(void) {
  find_control_address();
  thread_key_exists = pthread_key_create(&thread_key, thread_ends) == 0;
  pthread_atfork(fork_prepare, fork_parent, fork_child);
  is_verbose = is_set("FSD_VERBOSE");
  is_accelerating_loopback = is_set("FSD_LOOPBACK");
  is_pinning = is_set("FSD_PIN");
}

bool fs_accelerates_loopback(void) { return is_accelerating_loopback; }

bool fs_pins_threads(void) { return is_pinning; }

void fs_remember_thread(void) {
  if (thread_key_exists) pthread_setspecific(thread_key, &fs_tls);
}

static const char *const reports[] = {
    [FS_REPORT_LISTENER_ACCELERATED] = "listener is accelerated, descriptor",
    [FS_REPORT_CHANNEL_BROKEN] = "a channel is broken and its connections are reset, engine",
    [FS_REPORT_DAEMON_REFUSES] = "the daemon refuses this process, errno",
    [FS_REPORT_DAEMON_GONE] = "the daemon is gone, its connections are reset, descriptor",
};

void fs_report(int what, long number) {
  if (!is_verbose) return;
  char line[160];
  int length = snprintf(line, sizeof line, "fsocket[%d]: %s %ld\n", fs_sys_getpid(), reports[what], number);
  if (length > 0) fs_sys_write(2, line, (unsigned long)length);
}
