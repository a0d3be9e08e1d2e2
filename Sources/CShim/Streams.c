// Interposers: streams of stdio over connections.
//
// A stream that fdopen makes reads and writes inside libc, past every interposer, and would find the
// socket of the kernel under a connection, through which nothing goes. So fdopen over a descriptor of
// ours makes a stream that calls back: libc's fopencookie, with the functions of this library. What
// fileno and freopen ask of such a stream is answered here, because libc takes it for one without a
// descriptor.
#include "Interpose.h"

/// Bytes that dprintf formats on the stack; for more, memory is mapped.
#define FS_FORMATTED_ON_STACK 4096

static ssize_t fs_stream_read(void *cookie, char *buffer, size_t count) {
  return read((int)(intptr_t)cookie, buffer, count);
}

/// A stream takes what is written short for an error; fopencookie(3): zero says that.
static ssize_t fs_stream_write(void *cookie, const char *buffer, size_t count) {
  size_t done = 0;
  while (done < count) {
    ssize_t result = write((int)(intptr_t)cookie, buffer + done, count - done);
    if (result <= 0) break;
    done += (size_t)result;
  }
  return (ssize_t)done;
}

static int fs_stream_close(void *cookie) { return close((int)(intptr_t)cookie); }

/// Whether a stream is one of those that this file makes: without a descriptor to libc, and yet with
/// its number where libc keeps them, which has -2 there for the cookie streams of others.
static bool fs_is_stream(FILE *stream) {
  static const int isFileStream = 0x2000;  // _IO_IS_FILEBUF of libio.h
  return stream && !(stream->_flags & isFileStream) && stream->_fileno >= 0;
}

FS_INTERPOSE(FILE *, fdopen, (int fd, const char *mode)) {
  if (fs_passes(fd) || fs_descriptor_kind(fd) == FS_KIND_EPOLL) return next_fdopen(fd, mode);
  cookie_io_functions_t functions = {
      .read = fs_stream_read, .write = fs_stream_write, .close = fs_stream_close};
  FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
  if (!stream) return NULL;
  stream->_fileno = fd;
  // As fdopen does it: the rest of the mode says how files are opened.
  if (strchr(mode, 'e')) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return stream;
}

FS_INTERPOSE(FILE *, _IO_fdopen, (int fd, const char *mode)) { return fs_entry_fdopen(fd, mode); }

FS_INTERPOSE(int, fileno, (FILE *stream)) {
  return fs_is_stream(stream) ? stream->_fileno : next_fileno(stream);
}

FS_INTERPOSE(int, fileno_unlocked, (FILE *stream)) { return fs_entry_fileno(stream); }

/// A stream made by libc's fdopen closes its descriptor inside libc, where no interposer sees it:
/// give the descriptor up before. It may have been a socket of ours only later, or by dup2.
FS_INTERPOSE(int, fclose, (FILE *stream)) {
  int error = errno;
  int fd = stream && !fs_is_stream(stream) ? next_fileno(stream) : -1;
  errno = error;
  if (!fs_passes(fd)) fs_descriptor_created(fd);
  return next_fclose(stream);
}

// MARK: Formatted output to a descriptor

/// Writes everything, as a stream would: what has been written is the result, or -1.
static int fs_write_all(int fd, const char *text, int length) {
  for (int done = 0; done < length;) {
    ssize_t result = write(fd, text + done, (size_t)(length - done));
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) return -1;
    done += (int)result;
  }
  return length;
}

FS_INTERPOSE(int, vdprintf, (int fd, const char *format, va_list arguments)) {
  if (fs_data_passes(fd)) return next_vdprintf(fd, format, arguments);
  char text[FS_FORMATTED_ON_STACK];
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(text, sizeof text, format, again);
  va_end(again);
  if (length < (int)sizeof text) return length < 0 ? length : fs_write_all(fd, text, length);
  char *large = fs_sys_map_private((size_t)length + 1);
  if (!large) return (int)fs_conclude(-ENOMEM);
  length = vsnprintf(large, (size_t)length + 1, format, arguments);
  int result = fs_write_all(fd, large, length);
  fs_sys_unmap(large, (size_t)length + 1);
  return result;
}

__attribute__((visibility("default"))) int fs_entry_dprintf(int fd, const char *format, ...)
    __asm__("dprintf");
int fs_entry_dprintf(int fd, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int result = fs_entry_vdprintf(fd, format, arguments);
  va_end(arguments);
  return result;
}

FS_INTERPOSE(int, __vdprintf_chk, (int fd, int flag, const char *format, va_list arguments)) {
  if (fs_data_passes(fd)) return next___vdprintf_chk(fd, flag, format, arguments);
  return fs_entry_vdprintf(fd, format, arguments);
}

__attribute__((visibility("default"))) int fs_entry_dprintf_chk(int fd, int flag,
                                                                const char *format, ...)
    __asm__("__dprintf_chk");
int fs_entry_dprintf_chk(int fd, int flag, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int result = fs_entry___vdprintf_chk(fd, flag, format, arguments);
  va_end(arguments);
  return result;
}
