import CShim
import Synchronization

// What only the engine knows of a connection is asked for (`CommandKind.inquire`), and the answer
// waited for: it runs on another processor, or needs this one.

/// Asks the engine about a connection. False if it is none of an engine, or the engine does not
/// answer within a tenth of a second. No lock is held: other threads of the channel go on meanwhile.
func inquire(_ fd: Int32, _ report: inout ConnectionReport) -> Bool {
  var inquiry = Inquiry()
  var asked: Int64
  var attempts = 0
  repeat {
    asked = withConnection(fd) { socket, channel in channel.ask(socket, &inquiry) }
    // More threads ask than there are places.
    if asked == failure(EBUSY) { fs_sys_pause_for(50_000) }
    attempts += 1
  } while asked == failure(EBUSY) && attempts < 2000
  guard asked == 0 else { return false }
  let channel = ChannelTable.at(inquiry.channel)
  let answered = channel.waitForReport(inquiry)
  if answered { report = channel.pointee.header.report(inquiry.place).pointee }
  // A signal handler that interrupted its own thread inside the channel cannot have asked.
  guard Lock.acquire(channel.lockWord) else { return answered }
  channel.pointee.reportsInUse &= ~(1 << inquiry.place)
  channel.pointee.socketCount -= 1
  Lock.release(channel.lockWord)
  return answered
}

/// An inquiry under way.
private struct Inquiry {
  var channel: Int32 = -1
  var place: UInt32 = 0
  /// What the engine stores when the report is complete.
  var number: UInt32 = 0
}

extension UnsafeMutablePointer<Channel> {
  /// Sends an inquiry, if a place for its report is free. The lock is held.
  fileprivate func ask(_ socket: SocketPointer, _ inquiry: inout Inquiry) -> Int64 {
    guard isOpen, socket.pointee.state != .failed else { return failure(ENOTCONN) }
    let free = ~pointee.reportsInUse & (1 << ChannelHeader.reportCount &- 1)
    guard free != 0 else { return failure(EBUSY) }
    inquiry.channel = index
    inquiry.place = UInt32(free.trailingZeroBitCount)
    pointee.inquiries &+= 1
    inquiry.number = pointee.inquiries
    pointee.reportsInUse |= 1 << inquiry.place
    // Also when another thread closes the socket meanwhile, the channel stays what it is.
    pointee.socketCount += 1
    var command = Command(.inquire, slot: socket.pointee.slot)
    command.length = inquiry.place
    command.value = Int32(bitPattern: inquiry.number)
    send(command)
    publish()
    return 0
  }

  fileprivate func waitForReport(_ inquiry: Inquiry) -> Bool {
    let word = pointee.header.reportSequence(inquiry.place)
    var attempts = 0
    while word.pointee.load(ordering: .acquiring) != inquiry.number {
      guard isOpen, attempts < 2000 else { return false }
      attempts += 1
      if attempts < 20 {
        fs_sys_yield()
      } else {
        fs_sys_pause_for(50_000)
        // The command may have found the ring full.
        if Lock.acquire(lockWord) {
          sendDelayed()
          ringDoorbell()
          Lock.release(lockWord)
        }
      }
    }
    return true
  }
}
