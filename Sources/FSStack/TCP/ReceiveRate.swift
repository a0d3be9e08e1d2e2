/// The number of a receive rate.
struct ReceiveRateID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// How much an application reads in one round trip, from which its receive buffer's size follows:
/// Linux's dynamic right-sizing (tcp_rcv_space_adjust). Only connections that receive much have one.
struct ReceiveRate: BitwiseCopyable {
  /// The round trip as the receiver sees it, nanoseconds; 0: not measured yet.
  private(set) var roundTrip: UInt64 = 0
  /// Bytes read in the best round trip so far.
  private(set) var space: UInt32
  /// Bytes read in all, modulo 2^32, when the present round trip began.
  private var readAtStart: UInt32
  private var startedAt: Instant
  /// Without timestamps a round trip is the time in which a whole window arrives.
  private var windowEnd: SequenceNumber
  private var windowAt: Instant
  /// The last timestamp that was used for a sample.
  private var lastEcho: UInt32 = 0

  /// Bytes of one round trip that count: more than any buffer holds.
  private static var mostRead: UInt32 { 1 << 30 }

  init(
    window: UInt32, segmentSize: UInt32, read: UInt32, receiveNext: SequenceNumber, now: Instant
  ) {
    space = max(min(window, 10 * segmentSize), 1)
    readAtStart = read
    startedAt = now
    windowEnd = receiveNext + window
    windowAt = now
  }

  /// Data has come: RCV.NXT and the window as they were before.
  mutating func arrived(_ receiveNext: SequenceNumber, window: UInt32, now: Instant) {
    guard receiveNext >= windowEnd else { return }
    let sample = max((now - windowAt).nanoseconds, 1000)
    // A window takes a round trip or more.
    roundTrip = roundTrip == 0 ? sample : min(roundTrip, sample)
    windowEnd = receiveNext + window
    windowAt = now
  }

  /// A full segment carried a timestamp of ours that was sent `milliseconds` ago.
  mutating func echoed(_ echo: UInt32, milliseconds: UInt32) {
    guard echo != lastEcho, milliseconds < RoundTripEstimator.oldestEcho else { return }
    lastEcho = echo
    let sample = UInt64(max(milliseconds, 1)) * 1_000_000
    roundTrip = roundTrip == 0 ? sample : roundTrip - roundTrip / 8 + sample / 8
  }

  /// The application has read `read` bytes in all. Once in a round trip the buffer's size that suits
  /// the rate: twice what was read, and more while that grows, so that the sender's slow start is
  /// not held up.
  mutating func read(_ read: UInt32, segmentSize: UInt32, now: Instant) -> UInt32? {
    guard roundTrip > 0, (now - startedAt).nanoseconds >= roundTrip else { return nil }
    // The peer's echoes decide how long a round trip is, so this can be all that an hour brings.
    let copied = min(read &- readAtStart, Self.mostRead)
    readAtStart = read
    startedAt = now
    guard copied > space else { return nil }
    var window = 2 * UInt64(copied) + 16 * UInt64(segmentSize)
    window += 2 * window * UInt64(copied - space) / UInt64(space)
    space = copied
    return UInt32(clamping: window)
  }
}
