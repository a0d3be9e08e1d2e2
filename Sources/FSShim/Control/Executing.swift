import CShim

/// Before execve(2) and its like. Sockets that are not yet the kernel's, and that the application wants
/// to hand on, are made the kernel's. What a parent opened, and this process has not touched, is not: a
/// program that does not know of it would only keep it from being closed. All descriptors of the shim
/// itself are close-on-exec. If the call fails, the process goes on with the kernel's sockets.
@c @implementation
public func fs_before_exec() {
  guard isInitialized, process.pointee.highestDescriptor >= 0 else { return }
  for fd in 0...process.pointee.highestDescriptor {
    let entry = DescriptorEntry.of(fd)
    guard !entry.closeOnExec else { continue }
    if entry.kind == .connection, !SocketTable.at(entry.index).isOurs { continue }
    fs_descriptor_leaves(fd)
  }
}
