/// The key of everything that must not be predictable from outside: table positions, initial
/// sequence numbers, timestamp offsets, ports. All engines of a daemon share it, so that they
/// agree on the owner of a flow.
struct Secret: BitwiseCopyable, Sendable {
  /// The key of the positions in tables.
  let words: (UInt64, UInt64, UInt64, UInt64)
  /// The key of what the outside sees. The other one cannot be computed from it, nor the reverse, so that
  /// what is learned of one says nothing of the other.
  private let outside: (UInt64, UInt64)

  /// Makes both keys of 256 random bits, half of them for each.
  init(words seed: (UInt64, UInt64, UInt64, UInt64)) {
    func word(_ number: UInt64) -> UInt64 {
      var hash = SipHash(seed.0, seed.1)
      hash.append(number)
      return hash.finish()
    }
    words = (word(0), word(1), word(2), word(3))
    outside = (seed.2, seed.3)
  }

  /// Multiplies to 128 bits and folds: two rounds of this mix every input bit into every output
  /// bit, and without the key the result cannot be computed.
  @inline(__always)
  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  /// A keyed hash of a flow: its position in tables.
  @inline(__always)
  func hash(_ flow: Flow) -> UInt64 {
    let local = Self.mix(flow.local.high ^ words.0, flow.local.low ^ words.1)
    let remote = Self.mix(flow.remote.high ^ words.2, flow.remote.low ^ words.3)
    return Self.mix(local ^ flow.ports ^ words.2, remote ^ words.1)
  }

  /// A keyed hash of one address.
  @inline(__always)
  func hash(_ address: IPAddress) -> UInt64 {
    Self.mix(Self.mix(address.high ^ words.0, address.low ^ words.1) ^ words.2, words.3)
  }
}

/// Values that the outside sees, or can infer. Each purpose has a function of its own.
extension Secret {
  private enum Purpose: UInt64 {
    case initialSequence = 1
    case timestampOffset
    case sourcePort
    case cookie
  }

  @inline(__always)
  private func begin(_ purpose: Purpose, _ detail: UInt64 = 0) -> SipHash {
    var hash = SipHash(outside.0, outside.1)
    hash.append(purpose.rawValue << 48 | detail)
    return hash
  }

  /// The initial sequence number of a flow (RFC 6528, SHLD-1): F(flow), which cannot be computed from
  /// outside (MUST-9), plus a clock that ticks every 64 ns (MUST-8), as in Linux. The clock outruns
  /// the bytes of an earlier incarnation up to 15 MB/s, and wraps after 275 s.
  func initialSequence(_ flow: Flow, now: Instant) -> SequenceNumber {
    var hash = begin(.initialSequence, flow.ports)
    hash.append(flow.local, flow.remote)
    let clock = UInt32(truncatingIfNeeded: now.nanoseconds >> 6)
    return SequenceNumber(clock &+ UInt32(truncatingIfNeeded: hash.finish()))
  }

  /// The shift of our timestamp clock towards a host (RFC 7323 section 5.4). As in Linux the same for
  /// all flows between two addresses: then timestamps go on from one incarnation to the next
  /// (RFC 6191), also behind a translator of addresses.
  func timestampOffset(_ local: IPAddress, _ remote: IPAddress) -> UInt32 {
    var hash = begin(.timestampOffset)
    hash.append(local, remote)
    return UInt32(truncatingIfNeeded: hash.finish())
  }

  /// F() and G() of RFC 6056 section 3.3.4: where the search for a source port begins, and the cursor
  /// that moves it on.
  func sourcePort(
    _ local: IPAddress, _ remote: IPAddress, remotePort: UInt16
  ) -> (start: UInt32, cursor: UInt32) {
    var hash = begin(.sourcePort, UInt64(remotePort))
    hash.append(local, remote)
    let value = hash.finish()
    return (UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32))
  }

  /// The hash in a SYN cookie; `minute` and what follows are 0 for the part that does not expire.
  func cookie(_ flow: Flow, minute: UInt64, sequence: UInt32 = 0, index: Int = 0) -> UInt32 {
    var hash = begin(.cookie, flow.ports)
    hash.append(minute << 35 | UInt64(index) << 32 | UInt64(sequence))
    hash.append(flow.local, flow.remote)
    return UInt32(truncatingIfNeeded: hash.finish())
  }
}

extension SipHash {
  /// Appends two addresses: those of IPv4 as one word. The length of the message, which is part of it,
  /// keeps the families apart.
  @inline(__always)
  mutating func append(_ local: IPAddress, _ remote: IPAddress) {
    if local.isIPv4, remote.isIPv4 {
      append(UInt64(local.v4Native) << 32 | UInt64(remote.v4Native))
      return
    }
    append(local.high)
    append(local.low)
    append(remote.high)
    append(remote.low)
  }
}
