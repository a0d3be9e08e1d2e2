// State that the C and the Swift half share: the descriptor table, and what is remembered of a
// thread.
#pragma once

/// Descriptors from here on are the kernel's alone.
#define FS_DESCRIPTOR_LIMIT (1 << 20)

/// What a descriptor number is to the shim: the low bits of its table entry. In this order, because
/// input and output look only for the last two.
enum {
  /// The kernel's; nothing to us.
  FS_KIND_KERNEL = 0,
  /// A TCP socket that may yet become an engine's connection, or a listener.
  FS_KIND_SOCKET = 1,
  /// A listening socket whose connections come from the kernel and from the engines.
  FS_KIND_LISTENER = 2,
  /// An epoll set of the kernel that also watches descriptors of ours.
  FS_KIND_EPOLL = 3,
  /// A connection of an engine, also while it is being opened and after it failed.
  FS_KIND_CONNECTION = 4,
  /// The shim's own descriptor, or one kept for reuse: the application must not see it.
  FS_KIND_INTERNAL = 5,
};

/// Bits of an entry that hold the kind.
#define FS_ENTRY_KIND 7u
/// The application wants the descriptor closed by exec.
#define FS_ENTRY_CLOSE_ON_EXEC 8u
/// The rest of an entry is the number of the socket or epoll set.
#define FS_ENTRY_SHIFT 4

/// One entry per descriptor number. Never touched for numbers that are the kernel's, so the pages
/// behind it are not there.
extern uint32_t fs_descriptors[FS_DESCRIPTOR_LIMIT] __attribute__((visibility("hidden")))
__attribute__((swift_attr("nonisolated(unsafe)")));

/// The entry of a descriptor; 0 for one that is none of ours.
static inline uint32_t fs_descriptor_entry(int fd) {
  return (unsigned)fd < FS_DESCRIPTOR_LIMIT
             ? __atomic_load_n(&fs_descriptors[fd], __ATOMIC_ACQUIRE)
             : 0;
}

static inline void fs_descriptor_store(int fd, uint32_t entry) {
  if ((unsigned)fd < FS_DESCRIPTOR_LIMIT)
    __atomic_store_n(&fs_descriptors[fd], entry, __ATOMIC_RELEASE);
}

/// Replaces an entry; the one that was there.
static inline uint32_t fs_descriptor_exchange(int fd, uint32_t entry) {
  return (unsigned)fd < FS_DESCRIPTOR_LIMIT
             ? __atomic_exchange_n(&fs_descriptors[fd], entry, __ATOMIC_ACQ_REL)
             : 0;
}

/// The kind of a descriptor, FS_KIND_….
static inline unsigned fs_descriptor_kind(int fd) {
  return fs_descriptor_entry(fd) & FS_ENTRY_KIND;
}

/// Whether a descriptor is nothing to us.
static inline int fs_is_plain(int fd) { return fs_descriptor_entry(fd) == 0; }

/// What the shim remembers of a thread. All of it is the parent's in a forked child until
/// `fs_thread_forked` clears it.
struct fs_thread {
  /// Not zero in a child made by vfork, which runs in its parent's memory until it execs.
  uint32_t inVforkChild;
  /// The thread's number, or 0 when it has not been asked for.
  uint32_t identifier;
  /// The thread's own channel plus one; 0 for none.
  uint32_t channel;
  /// What readiness keeps: its waiter plus one, and what else it needs.
  uint32_t waitEpoll;
  uint64_t waiting[8];
  /// The socket in which a call of the thread waits plus one; 0 for none.
  uint32_t blockedIn;
  /// The epoll set in which a call of the thread waits; 0 for none.
  uint32_t blockedInSet;
};

extern _Thread_local struct fs_thread fs_tls __attribute__((visibility("hidden")))
__attribute__((tls_model("initial-exec")));

static inline struct fs_thread *_Nonnull fs_thread_state(void) { return &fs_tls; }

/// Where the Swift half keeps the state of the process; null until it is initialised.
extern void *_Nullable fs_process_memory __attribute__((visibility("hidden")))
__attribute__((swift_attr("nonisolated(unsafe)")));

static inline void *_Nullable fs_process_memory_get(void) { return fs_process_memory; }
static inline void fs_process_memory_set(void *_Nonnull memory) { fs_process_memory = memory; }

/// Remembers what a program that runs itself anew keeps. From the constructor.
void fs_remember_environment(void) __attribute__((visibility("hidden")));

/// Registers the handlers of fork and of the end of threads. Once.
void fs_register_handlers(void) __attribute__((visibility("hidden")));
/// Asks for `fs_thread_ends` when the calling thread ends.
void fs_remember_thread(void) __attribute__((visibility("hidden")));

/// What can be reported.
enum {
  FS_REPORT_LISTENER_ACCELERATED,
  FS_REPORT_CHANNEL_BROKEN,
  FS_REPORT_DAEMON_REFUSES,
  FS_REPORT_DAEMON_GONE,
};

/// Writes one line to standard error when FSD_VERBOSE is set.
void fs_report(int what, long number) __attribute__((visibility("hidden")));

/// Whether FSD_LOOPBACK was set when the process began: connections within this host go through an
/// engine, too.
bool fs_accelerates_loopback(void) __attribute__((visibility("hidden")));

/// Whether FSD_PIN was set when the process began: a thread that gets a channel binds itself to the processor
/// that the daemon names.
bool fs_pins_threads(void) __attribute__((visibility("hidden")));

/// Connects to the daemon's socket, in the directory that FSD_RUNTIME_DIR named when the process
/// began, else /run/fsd. The descriptor, or -errno.
int fs_control_connect(void) __attribute__((visibility("hidden")));
