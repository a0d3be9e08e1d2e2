import CShim
import Synchronization

// close(2) of a connection or a listener in which other threads block. In Linux a call holds what it uses:
// the socket goes on, and so does the call, until the last such call has returned. Here the socket gets
// another descriptor, which only those calls know, and the last of them closes it.

/// The calls that block in a connection or a listener. Protected by its lock.
struct BlockedCalls {
  /// Calls that wait at this moment.
  fileprivate var waiting: UInt16 = 0
  /// Calls that go on although the application has closed its last descriptor.
  fileprivate var late: UInt16 = 0
  /// The descriptor under which they do; 0 for none.
  fileprivate var descriptor: Int32 = 0

  /// Whether closing the last descriptor may have to leave the socket to a call.
  @inline(__always)
  var areThere: Bool { waiting != 0 }

  /// Whether a descriptor is only there for calls that go on.
  func hold(_ fd: Int32) -> Bool { late != 0 && descriptor == fd }
}

extension UnsafeMutablePointer<Socket> {
  /// A call is about to wait; false if the descriptor does not stand for the socket any more.
  func callWaits(_ fd: Int32) -> Bool {
    guard SocketTable.lock(self) else { return false }
    defer { SocketTable.unlock(self) }
    let entry = DescriptorEntry.of(fd)
    guard entry.kind == .connection || entry.kind == .listener, entry.index == index else {
      return false
    }
    pointee.blockedCalls.waiting &+= 1
    fs_thread_state().pointee.blockedIn = index + 1
    return true
  }

  /// The call has waited. `fd` is from now on the number under which it goes on.
  func callHasWaited(_ fd: inout Int32) {
    fs_thread_state().pointee.blockedIn = 0
    guard SocketTable.lock(self) else { return }
    defer { SocketTable.unlock(self) }
    // None, if the socket was closed all the same, and its place in the table is another's.
    if pointee.blockedCalls.waiting > 0 { pointee.blockedCalls.waiting &-= 1 }
    let entry = DescriptorEntry.of(fd)
    guard pointee.blockedCalls.late > 0, !entry.isSocket || entry.index != index else { return }
    fd = pointee.blockedCalls.descriptor
  }

  /// A call has returned that went on under another number: the last one closes the socket.
  @inline(never)
  func lateCallReturns() {
    guard SocketTable.lock(self) else { return }
    let fd = pointee.blockedCalls.descriptor
    let entry = DescriptorEntry.of(fd)
    let isOurs = pointee.blockedCalls.late > 0 && entry.isSocket && entry.index == index
    if isOurs { pointee.blockedCalls.late &-= 1 }
    let isLast = isOurs && pointee.blockedCalls.late == 0
    if isLast { pointee.blockedCalls.descriptor = 0 }
    SocketTable.unlock(self)
    // Not kept for the next connection: its number is none for select(2).
    if isLast, closeDescriptor(fd, keeps: false) == pass { _ = fs_sys_close(fd) }
  }

  /// The last descriptor of a socket is about to be closed while calls block in it: they get one of
  /// their own. Without a number for that the socket is closed at once.
  @inline(never)
  func leaveToCalls(_ fd: Int32, _ entry: DescriptorEntry) {
    forgetAbandonedCall()
    guard isOurs, SocketTable.lock(self) else { return }
    defer { SocketTable.unlock(self) }
    guard DescriptorEntry.of(fd) == entry, pointee.references == 1,
      pointee.blockedCalls.areThere
    else { return }
    let copy = fs_sys_fcntl(fd, F_DUPFD_CLOEXEC, Int(process.pointee.internalBase))
    guard copy >= 0 else { return }
    guard copy < FS_DESCRIPTOR_LIMIT else {
      _ = fs_sys_close(copy)
      return
    }
    descriptorAssign(copy, kind: entry.kind, index: entry.index, closeOnExec: true)
    pointee.references += 1
    // If it was such a descriptor that was closed, by close_range for example, they are counted already.
    if pointee.blockedCalls.late == 0 { pointee.blockedCalls.late = pointee.blockedCalls.waiting }
    pointee.blockedCalls.descriptor = copy
  }
}

/// A call of this thread that waited will never return: the thread ends, or has left it by longjmp.
func forgetAbandonedCall() {
  let number = fs_thread_state().pointee.blockedIn
  guard number != 0 else { return }
  let socket = SocketTable.at(number - 1)
  var fd: Int32 = -1
  socket.callHasWaited(&fd)
  if fd >= 0 { socket.lateCallReturns() }
}
