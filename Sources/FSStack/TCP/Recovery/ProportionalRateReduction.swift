/// Proportional Rate Reduction (RFC 9937): during recovery the window goes down to the threshold in
/// step with what is delivered, whatever the pattern of losses.
struct ProportionalRateReduction: BitwiseCopyable {
  /// RecoverFS: bytes in flight when recovery began.
  private var flight: UInt32 = 1
  /// prr_delivered: bytes delivered since.
  private var delivered: UInt64 = 0
  /// prr_out: bytes sent since.
  private(set) var sent: UInt64 = 0

  /// Recovery begins.
  mutating func begin(flight: UInt32) {
    self.flight = max(flight, 1)
    delivered = 0
    sent = 0
  }

  /// The window after an acknowledgement that delivers `count` bytes. `isSafe`: it advances SND.UNA and
  /// tells of no further loss.
  mutating func acknowledged(
    _ count: UInt32, pipe: UInt32, threshold: UInt32, segmentSize: UInt32, isSafe: Bool
  ) -> UInt32 {
    delivered += UInt64(count)
    var room: UInt64
    if pipe > threshold {
      let target = (delivered * UInt64(threshold) + UInt64(flight) - 1) / UInt64(flight)
      room = target > sent ? target - sent : 0
    } else {
      // Conservative: no more than is delivered; a segment more when all goes well.
      room = max(delivered > sent ? delivered - sent : 0, UInt64(count))
      if isSafe { room += UInt64(segmentSize) }
      room = min(room, UInt64(threshold - pipe))
    }
    // Fast retransmit.
    if sent == 0 { room = max(room, UInt64(segmentSize)) }
    return UInt32(clamping: UInt64(pipe) + room)
  }

  /// Bytes were sent, for the first time or again.
  mutating func transmitted(_ count: UInt32) { sent += UInt64(count) }
}
