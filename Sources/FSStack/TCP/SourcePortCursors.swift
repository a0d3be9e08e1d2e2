/// Where the searches for source ports stand: the double-hash algorithm of RFC 6056 section 3.3.4.
///
/// A keyed hash of the destination says where in the range to begin, and which of the cursors to add.
/// So ports to one destination follow each other, and are not used again soon; but what one
/// destination sees says nothing of the ports to others.
struct SourcePortCursors {
  private let secret: Secret
  private var cursors: [UInt32]

  /// Cursors; destinations that share one can see that the other is connected to, not by which port.
  private static var count: Int { 256 }

  init(secret: Secret) {
    self.secret = secret
    cursors = (0..<Self.count).map {
      secret.sourcePort(.unspecified, .unspecified, remotePort: UInt16($0)).start
    }
  }

  /// Whether a port may be taken.
  enum Use {
    case free
    /// Better than none: its last connection is in TIME-WAIT.
    case reusable
    case taken
  }

  /// Ports without a free one after which a reusable one is taken: who closes so many connections that all
  /// ports are in TIME-WAIT shall not look at all of them each time.
  private static var patience: UInt32 { 128 }

  /// Gives `use` the ports of `range` in the order of the search, until one is free, or one is reusable and no
  /// free one is near, and moves the cursor behind that. `skip` says how many ports from one on are none to
  /// ask for.
  @inline(__always)
  mutating func search(
    _ range: ClosedRange<UInt16>, local: IPAddress, remote: IPAddress, remotePort: UInt16,
    skip: (UInt16) -> UInt32, use: (UInt16) -> Use
  ) -> UInt16? {
    let hash = secret.sourcePort(local, remote, remotePort: remotePort)
    let cursor = Int(hash.cursor) % Self.count
    let first = hash.start &+ cursors[cursor]
    let count = UInt32(range.count)
    var offset = first % count
    var step: UInt32 = 0
    var asked: UInt32 = 0
    var reusable: (port: UInt16, step: UInt32)?
    while step < count, reusable == nil || asked < Self.patience {
      let port = range.lowerBound + UInt16(offset)
      let skipped = skip(port)
      if skipped == 0 {
        asked += 1
        switch use(port) {
        case .free:
          cursors[cursor] = cursors[cursor] &+ step &+ 1
          return port
        case .reusable: if reusable == nil { reusable = (port, step) }
        case .taken: break
        }
      }
      // Not beyond the end: at the beginning it is asked anew.
      let advance = min(max(skipped, 1), count - offset)
      step += advance
      offset = offset + advance == count ? 0 : offset + advance
    }
    guard let reusable else { return nil }
    cursors[cursor] = cursors[cursor] &+ reusable.step &+ 1
    return reusable.port
  }
}
