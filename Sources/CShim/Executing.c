// Interposers: running another program.
//
// Descriptors of the shim are close-on-exec, and the daemon takes the end of the control connection for
// the end of the process. What the application wants to hand on is made the kernel's before
// (`fs_before_exec`). posix_spawn, system and popen make their children inside libc, without calling
// anything interposed: what posix_spawn shall duplicate is seen when it is told so.
#include "Interpose.h"

#include <stdarg.h>

extern char **environ;

// MARK: The environment

// A program that runs itself anew (nginx and its like upgrade their binary so) often does it with an
// environment of its own making. The new one is to be preloaded as the old one was.

/// Variables that a program keeps when it runs itself anew.
static const char *const kept_names[] = {"LD_PRELOAD", "FSD_RUNTIME_DIR", "FSD_VERBOSE",
                                         "FSD_SPIN_MICROSECONDS", "FSD_LOOPBACK", "FSD_PIN"};
enum { KEPT_COUNT = sizeof kept_names / sizeof *kept_names };
/// NAME=value as the process began with it; null for those that were not set.
static char *kept[KEPT_COUNT];
/// The path with which this program was run.
static const char *own_path;
/// Where copies of these stand: programs overwrite the memory of their environment (setproctitle).
static char space[8192];
static size_t space_used;

/// A copy of a text, or null when there is no more space.
static char *copied(const char *text) {
  size_t length = strlen(text) + 1;
  if (length > sizeof space - space_used) return NULL;
  char *copy = memcpy(space + space_used, text, length);
  space_used += length;
  return copy;
}

void fs_remember_environment(void) {
  const char *path = (const char *)getauxval(AT_EXECFN);
  if (path) own_path = copied(path);
  for (int index = 0; index < KEPT_COUNT; index++) {
    size_t length = strlen(kept_names[index]);
    for (char **entry = environ; entry && *entry; entry++) {
      if (strncmp(*entry, kept_names[index], length) != 0 || (*entry)[length] != '=') continue;
      kept[index] = copied(*entry);
      break;
    }
  }
}

static bool is_set(char *const environment[], const char *assignment) {
  size_t length = (size_t)(strchr(assignment, '=') - assignment) + 1;
  for (char *const *entry = environment; entry && *entry; entry++)
    if (strncmp(*entry, assignment, length) == 0) return true;
  return false;
}

/// How many variables have to be added to the environment for a program.
static int missing(const char *path, char *const environment[]) {
  if (!own_path || !path || strcmp(path, own_path) != 0 || !kept[0]) return 0;
  // Who names another library, or keeps the variable, knows what he does.
  if (is_set(environment, kept[0])) return 0;
  int count = 0;
  for (int index = 0; index < KEPT_COUNT; index++)
    if (kept[index] && !is_set(environment, kept[index])) count++;
  return count;
}

static size_t count_of(char *const list[]) {
  size_t count = 0;
  while (list && list[count]) count++;
  return count;
}

/// Copies an environment and adds what is missing in it.
static void complete(char *const environment[], size_t count, char **result) {
  for (size_t entry = 0; entry < count; entry++) result[entry] = environment[entry];
  for (int index = 0; index < KEPT_COUNT; index++)
    if (kept[index] && !is_set(environment, kept[index])) result[count++] = kept[index];
  result[count] = NULL;
}

// MARK: The calls

static void before_exec(void) {
  if (fs_thread_state()->inVforkChild) return;
  int error = errno;
  fs_before_exec();
  errno = error;
}

FS_INTERPOSE(int, execve, (const char *path, char *const arguments[], char *const environment[])) {
  before_exec();
  int more = missing(path, environment);
  if (more == 0) return next_execve(path, arguments, environment);
  size_t count = count_of(environment);
  char *completed[count + (size_t)more + 1];
  complete(environment, count, completed);
  return next_execve(path, arguments, completed);
}

FS_INTERPOSE(int, execv, (const char *path, char *const arguments[])) {
  return fs_entry_execve(path, arguments, environ);
}

FS_INTERPOSE(int, execvpe, (const char *file, char *const arguments[], char *const environment[])) {
  before_exec();
  return next_execvpe(file, arguments, environment);
}

FS_INTERPOSE(int, execvp, (const char *file, char *const arguments[])) {
  return fs_entry_execvpe(file, arguments, environ);
}

FS_INTERPOSE(int, fexecve, (int fd, char *const arguments[], char *const environment[])) {
  before_exec();
  return next_fexecve(fd, arguments, environment);
}

FS_INTERPOSE(int, execveat,
             (int directory, const char *path, char *const arguments[], char *const environment[],
              int flags)) {
  before_exec();
  return next_execveat(directory, path, arguments, environment, flags);
}

FS_INTERPOSE(int, posix_spawn_file_actions_adddup2,
             (posix_spawn_file_actions_t *actions, int fd, int to)) {
  if (!fs_passes(fd)) {
    int error = errno;
    fs_descriptor_leaves(fd);
    errno = error;
  }
  return next_posix_spawn_file_actions_adddup2(actions, fd, to);
}

// The arguments of the variadic ones, up to and with the null pointer at the end, as an array.

#define FS_COUNT_ARGUMENTS(first, count)                                                           \
  va_list list;                                                                                    \
  size_t count = 1;                                                                                \
  va_start(list, first);                                                                           \
  while (va_arg(list, char *)) count++;                                                            \
  va_end(list);

#define FS_GATHER_ARGUMENTS(first, count, array)                                                   \
  array[0] = (char *)first;                                                                        \
  va_start(list, first);                                                                           \
  for (size_t index = 1; index <= count; index++) array[index] = va_arg(list, char *);

FS_INTERPOSE(int, execl, (const char *path, const char *first, ...)) {
  FS_COUNT_ARGUMENTS(first, count)
  char *arguments[count + 1];
  FS_GATHER_ARGUMENTS(first, count, arguments)
  va_end(list);
  return fs_entry_execve(path, arguments, environ);
}

FS_INTERPOSE(int, execlp, (const char *file, const char *first, ...)) {
  FS_COUNT_ARGUMENTS(first, count)
  char *arguments[count + 1];
  FS_GATHER_ARGUMENTS(first, count, arguments)
  va_end(list);
  return fs_entry_execvpe(file, arguments, environ);
}

FS_INTERPOSE(int, execle, (const char *path, const char *first, ...)) {
  FS_COUNT_ARGUMENTS(first, count)
  char *arguments[count + 1];
  FS_GATHER_ARGUMENTS(first, count, arguments)
  char *const *environment = va_arg(list, char *const *);
  va_end(list);
  return fs_entry_execve(path, arguments, environment);
}
