import Testing

@testable import FSStack

/// SYN cookies (RFC 4987 section 3.6) as numbers.
@Suite struct SynchronizeCookieTests {
  private static let secret = Secret(words: (11, 12, 13, 14))
  private static let now = Instant(nanoseconds: 7 * 60_000_000_000 + 1)

  private static func flow(isIPv4: Bool = true, port: UInt16 = 1024) -> Flow {
    Flow(
      local: isIPv4 ? IPAddress(v4: 10, 0, 0, 1) : IPAddress(high: 0xfd, low: 1), localPort: 80,
      remote: isIPv4 ? IPAddress(v4: 10, 0, 0, 2) : IPAddress(high: 0xfd, low: 2),
      remotePort: port)
  }

  private func decode(
    _ cookie: SequenceNumber, _ flow: Flow = flow(), sequence: UInt32 = 1000,
    secret: Secret = secret, at time: Instant = now
  ) -> UInt16? {
    SynchronizeCookie.decode(
      cookie, flow, sequence: SequenceNumber(sequence), secret: secret, now: time)
  }

  private func encode(
    _ flow: Flow = flow(), sequence: UInt32 = 1000, size: UInt16 = 1460, at time: Instant = now
  ) -> SequenceNumber {
    SynchronizeCookie.encode(
      flow, sequence: SequenceNumber(sequence), maximumSegmentSize: size, secret: Self.secret,
      now: time)
  }

  /// The segment size comes back rounded down, so that the peer is never sent more than it asked for
  /// (MUST-16), and the default where none was announced (MUST-15).
  @Test func roundTrip() {
    let cases4: [(UInt16, UInt16)] = [
      (0, 536), (1, 48), (500, 48), (536, 536), (1299, 536), (1300, 1300), (1459, 1452),
      (1460, 1460), (8960, 8960), (65535, 8960),
    ]
    for (size, expected) in cases4 { #expect(decode(encode(size: size)) == expected) }
    let flow6 = Self.flow(isIPv4: false)
    for (size, expected): (UInt16, UInt16) in [(0, 1220), (1220, 1220), (1440, 1440), (88, 48)] {
      #expect(decode(encode(flow6, size: size), flow6) == expected)
    }
    for port in stride(from: UInt16(1), to: 60000, by: 997) {
      let sequence = UInt32(port) &* 0x9e37_79b9
      let flow = Self.flow(port: port)
      #expect(decode(encode(flow, sequence: sequence), flow, sequence: sequence) == 1460)
    }
  }

  /// A cookie is good in its minute and the next one, not longer.
  @Test func expires() {
    for second in [0, 1, 30, 59] {
      let sent = Instant(nanoseconds: 600_000_000_000 + UInt64(second) * 1_000_000_000)
      let cookie = encode(at: sent)
      for later in 0..<600 {
        let isGood = (second + later) / 60 < 2
        #expect((decode(cookie, at: sent + .seconds(UInt64(later))) != nil) == isGood)
      }
      #expect(decode(cookie, at: Instant(nanoseconds: 599_000_000_000)) == nil)
    }
  }

  /// The minute is 8 bits: a cookie of 256 minutes ago has the right ones, but another hash.
  @Test func expiresForGood() {
    #expect(decode(encode(), at: Self.now + .seconds(256 * 60)) == nil)
  }

  @Test func forgeriesAreRejected() {
    let cookie = encode()
    #expect(decode(cookie, Self.flow(port: 1025)) == nil)
    #expect(decode(cookie, sequence: 2000) == nil)
    #expect(decode(cookie, secret: Secret(words: (11, 12, 13, 15))) == nil)
    var random = SplitMix64(seed: 1)
    for _ in 0..<50_000 {
      #expect(decode(SequenceNumber(UInt32(truncatingIfNeeded: random.next()))) == nil)
    }
    // Near a good one, too.
    let near = (-100...100).count {
      decode(SequenceNumber(cookie.value &+ UInt32(bitPattern: $0))) != nil
    }
    #expect(near == 1)
  }

  /// Window scale, SACK and ECN in the timestamp, which stays a timestamp: not later than the clock,
  /// and less than 64 ms earlier, so that the peer's PAWS finds all later ones newer.
  @Test func timestampCarriesOptions() {
    for clock: UInt32 in [0, 1, 63, 64, 1_000_000, 0x7fff_ffff, 0x8000_0000, .max] {
      for scale in Array(0...14) + [SegmentOptions.absentWindowScale] {
        for flags: SynchronizeOffer.Flags in [
          [], .sackPermitted, .congestionNotification, [.sackPermitted, .congestionNotification],
        ] {
          var offer = SynchronizeOffer(sequence: SequenceNumber(1), maximumSegmentSize: 1460)
          let empty = offer
          offer.windowScale = scale
          offer.flags = flags
          let value = SynchronizeCookie.timestamp(clock, offer)
          #expect(clock &- value < 64)
          var taken = empty
          #expect(SynchronizeCookie.takeOptions(value, clock: clock &+ 100_000, into: &taken))
          #expect(taken == offer)
          #expect(!SynchronizeCookie.takeOptions(value, clock: clock &+ 200_000, into: &taken))
          #expect(!SynchronizeCookie.takeOptions(value &+ 1000, clock: clock, into: &taken))
        }
      }
    }
  }
}

@Suite struct HalfOpenTableTests {
  /// RFC 4987 section 3.5: what anyone can make us remember is small.
  @Test func recordIsSmall() {
    let links = 2 * MemoryLayout<UInt32>.size
    #expect(MemoryLayout<HalfOpen>.stride + links + MemoryLayout<UInt32>.size <= 96)
    #expect(MemoryLayout<Connection>.stride > 4 * MemoryLayout<HalfOpen>.stride)
  }

  /// TCP_DEFER_ACCEPT in seconds is a number of expiries, which come after 1, 3, 7, 15 seconds.
  @Test func deferAcceptCountsExpiries() {
    let expected: [(Int, UInt8)] = [
      (-1, 0), (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5),
    ]
    for (seconds, expiries) in expected {
      #expect(Endpoint.deferAccept(seconds: seconds) == expiries, "\(seconds)")
    }
    #expect(Endpoint.deferAccept(seconds: .max / 2) == 255)
  }

  /// Half of the backlog is for the young: the more old ones, the fewer times they are tried.
  @Test func oldOnesMakeRoom() {
    var endpoint = Endpoint(address: .unspecified, port: 80)
    endpoint.backlog = 100
    let cases: [(halfOpen: Int, young: Int, attempts: UInt8)] = [
      (50, 0, 5), (51, 51, 5), (60, 25, 4), (60, 10, 3), (60, 1, 2), (100, 0, 2),
    ]
    for (halfOpen, young, attempts) in cases {
      endpoint.halfOpen = halfOpen
      endpoint.young = young
      #expect(endpoint.synchronizeAttempts == attempts, "\(halfOpen) \(young)")
    }
  }
}
