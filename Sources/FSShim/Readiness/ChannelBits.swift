import CShim

/// A set of channels, one bit each.
struct ChannelBits {
  private var words: InlineArray<4, UInt64> = [0, 0, 0, 0]

  mutating func insert(_ channel: Int32) {
    if channel >= 0 { words[Int(channel) >> 6] |= 1 << UInt64(channel & 63) }
  }

  func contains(_ channel: Int32) -> Bool {
    channel >= 0 && words[Int(channel) >> 6] >> UInt64(channel & 63) & 1 != 0
  }

  /// Makes sure that connections of a listener come to this process, and puts in every channel to
  /// which they come: a thread that waits for a listener outside epoll takes what any of them has,
  /// because the thread whose channel it is may be busy.
  mutating func insert(watching socket: Int32) {
    listenerPolled(socket)
    let record = socketAt(socket).pointee.listener
    guard record >= 0 else { return }
    for word in 0..<4 { words[word] |= ListenerTable.at(record).pointee.channels[word] }
  }

  func forEach(_ body: (Int32) -> Void) {
    for word in 0..<4 {
      var bits = words[word]
      while bits != 0 {
        body(Int32(word * 64 + bits.trailingZeroBitCount))
        bits &= bits - 1
      }
    }
  }

  /// Counts the calling thread as a sleeper on each channel; false when one has events to be taken
  /// first.
  func beginWaiting() -> Bool {
    var isQuiet = true
    forEach { if !FSShim.beginWaiting($0) { isQuiet = false } }
    return isQuiet
  }

  func endWaiting() { forEach { _ = channelWaitersAdd($0, -1) } }

  func drain() { forEach { drainChannel($0) } }
}

/// Counts the calling thread as a sleeper on a channel; false when there are events to be taken
/// first. A channel whose daemon is gone has none: its sockets are as ready as they will ever be.
func beginWaiting(_ channel: Int32) -> Bool {
  !channelIsOpen(channel) || channelWaitersAdd(channel, 1)
}
