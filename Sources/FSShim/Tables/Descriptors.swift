import CShim

/// What a descriptor number is to the shim.
enum DescriptorKind: UInt8 {
  /// Nothing to us; also a socket that went to the kernel.
  case none = 0
  /// A TCP socket that may yet become a listener or a connection.
  case undecided = 1
  case listener = 2
  case epoll = 3
  case connection = 4
  /// Our own, or kept for reuse.
  case `internal` = 5
}

/// One entry of the descriptor table.
struct DescriptorEntry: Equatable {
  var raw: UInt32

  init(raw: UInt32) { self.raw = raw }

  init(_ kind: DescriptorKind, _ index: UInt32, closeOnExec: Bool) {
    raw = UInt32(kind.rawValue) | (closeOnExec ? 8 : 0) | index << 4
  }

  /// The entry of a descriptor now.
  @inline(__always)
  static func of(_ fd: Int32) -> Self { Self(raw: fs_descriptor_entry(fd)) }

  @inline(__always)
  var kind: DescriptorKind {
    DescriptorKind(rawValue: UInt8(truncatingIfNeeded: raw & 7)).unsafelyUnwrapped
  }
  @inline(__always)
  var index: UInt32 { raw >> 4 }
  @inline(__always)
  var closeOnExec: Bool { raw & 8 != 0 }
  /// Whether it stands for a socket.
  @inline(__always)
  var isSocket: Bool { kind == .undecided || kind == .listener || kind == .connection }
}

/// What a descriptor is to the shim.
@inline(__always)
func descriptorKind(_ fd: Int32) -> DescriptorKind { DescriptorEntry.of(fd).kind }

/// The socket of a descriptor, or -1.
@inline(__always)
func socketIndex(_ fd: Int32) -> Int32 {
  let entry = DescriptorEntry.of(fd)
  return entry.isSocket ? Int32(entry.index) : -1
}

/// The epoll set of a descriptor, or -1.
@inline(__always)
func epollIndex(_ fd: Int32) -> Int32 {
  let entry = DescriptorEntry.of(fd)
  return entry.kind == .epoll ? Int32(entry.index) : -1
}

/// Enters a descriptor.
@inline(__always)
func descriptorAssign(_ fd: Int32, kind: DescriptorKind, index: UInt32, closeOnExec: Bool) {
  // A late store of a lower number by another thread does no harm: the next entry corrects it.
  if fd > process.pointee.highestDescriptor { process.pointee.highestDescriptor = fd }
  fs_descriptor_store(fd, DescriptorEntry(kind, index, closeOnExec: closeOnExec).raw)
}

/// Makes a descriptor the kernel's.
@inline(__always)
func descriptorClear(_ fd: Int32) { fs_descriptor_store(fd, 0) }

/// Makes a new descriptor our own: moves it to a high number, out of the application's way. Answers
/// the number, or -errno, in which case the descriptor is closed.
func moveToInternal(_ fd: Int32) -> Int32 {
  guard fd >= 0 else { return fd }
  var moved = fs_sys_fcntl(fd, F_DUPFD_CLOEXEC, Int(process.pointee.internalBase))
  // Above the limit of descriptors: any number is better than none.
  if moved < 0 { moved = fs_sys_fcntl(fd, F_DUPFD_CLOEXEC, 3) }
  _ = fs_sys_close(fd)
  guard moved >= 0 else { return moved }
  guard moved < FS_DESCRIPTOR_LIMIT else {
    _ = fs_sys_close(moved)
    return -EMFILE
  }
  descriptorAssign(moved, kind: .internal, index: 0, closeOnExec: true)
  return moved
}

/// Closes a descriptor of our own.
func closeInternal(_ fd: Int32) {
  guard fd >= 0 else { return }
  descriptorClear(fd)
  _ = fs_sys_close(fd)
}

/// Replaces the entries of all descriptors of a socket, whose kind has changed.
func renameDescriptors(
  of index: UInt32, _ socket: SocketPointer, _ fd: Int32, to kind: DescriptorKind
) {
  var left = socket.pointee.references
  rename(fd, index, kind)
  left -= 1
  var candidate: Int32 = 0
  // Duplicates of a socket that is still undecided are rare enough to be searched.
  while left > 0, candidate <= process.pointee.highestDescriptor {
    if candidate != fd, DescriptorEntry.of(candidate).isSocket,
      DescriptorEntry.of(candidate).index == index
    {
      rename(candidate, index, kind)
      left -= 1
    }
    candidate += 1
  }
}

private func rename(_ fd: Int32, _ index: UInt32, _ kind: DescriptorKind) {
  let closeOnExec = DescriptorEntry.of(fd).closeOnExec
  if kind == .none {
    descriptorClear(fd)
  } else {
    descriptorAssign(fd, kind: kind, index: index, closeOnExec: closeOnExec)
  }
  // The kernel's flag was kept set while the socket might have been pooled.
  if kind == .none || kind == .listener, !closeOnExec { _ = fs_sys_fcntl(fd, F_SETFD, 0) }
}
