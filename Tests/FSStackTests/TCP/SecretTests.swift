import Testing

@testable import FSStack

/// What the outside must not predict: initial sequence numbers, timestamps, ports.
@Suite struct SecretTests {
  private let secret = Secret(words: (1, 2, 3, 4))
  private let other = Secret(words: (1, 2, 3, 5))
  private let local = IPAddress(v4: 192, 0, 2, 1)
  private let remote = IPAddress(v4: 198, 51, 100, 7)

  private func flow(_ localPort: UInt16 = 80, _ remotePort: UInt16 = 1024) -> Flow {
    Flow(local: local, localPort: localPort, remote: remote, remotePort: remotePort)
  }

  /// The vectors of the function's authors, for messages of whole words: key and message are the
  /// bytes 0, 1, 2 and so on.
  @Test func sipHashVectors() {
    let expected: [UInt64] = [
      0x726f_db47_dd0e_0e31, 0x93f5_f579_9a93_2462, 0x3f2a_cc7f_57c2_9bdb, 0xb8ad_50c6_f649_af94,
    ]
    for (count, value) in expected.enumerated() {
      var hash = SipHash(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
      for word in 0..<UInt64(count) {
        hash.append(0x0706_0504_0302_0100 + word * 0x0808_0808_0808_0808)
      }
      #expect(hash.finish() == value)
    }
  }

  /// MUST-8, RFC 6528: the number of one flow moves with the clock, 64 ns a step.
  @Test func initialSequenceFollowsClock() {
    let start = Instant(nanoseconds: 5_000_000_000)
    let first = secret.initialSequence(flow(), now: start)
    for microseconds: UInt64 in [0, 4, 64, 1_000_000, 275_000_000] {
      let later = secret.initialSequence(flow(), now: start + .microseconds(microseconds))
      #expect(later == first + UInt32(truncatingIfNeeded: microseconds * 1000 / 64))
    }
  }

  /// MUST-9, SHLD-1: nothing of one flow's number follows from another's, nor without the key. NUMBER:JACK
  /// (CVE-2020-27213) is a stack in which it does.
  @Test func initialSequenceIsUnpredictable() {
    let now = Instant(nanoseconds: 1 << 40)
    var differences = Set<Int32>()
    var bits = [Int](repeating: 0, count: 32)
    let flows = (0..<2000).map { flow(80, UInt16(1024 + $0)) }
    for index in 1..<flows.count {
      let number = secret.initialSequence(flows[index], now: now)
      differences.insert(number - secret.initialSequence(flows[index - 1], now: now))
      #expect(number != other.initialSequence(flows[index], now: now))
      for bit in 0..<32 where number.value >> UInt32(bit) & 1 == 1 { bits[bit] += 1 }
    }
    #expect(differences.count == flows.count - 1)
    // Each bit is set in about half of all: 1000, with a deviation of 22.
    #expect(bits.allSatisfy { (880...1120).contains($0) }, "\(bits)")
    // Both directions of a flow, and another address, are other flows.
    let reversed = Flow(local: remote, localPort: 1024, remote: local, remotePort: 80)
    #expect(
      secret.initialSequence(reversed, now: now) != secret.initialSequence(flow(), now: now))
  }

  /// RFC 7323 section 5.4: time goes on between incarnations of a flow, and between all flows of two
  /// hosts, but differs between hosts.
  @Test func timestampOffset() {
    let offset = secret.timestampOffset(local, remote)
    #expect(offset == secret.timestampOffset(local, remote))
    #expect(offset != other.timestampOffset(local, remote))
    let offsets = Set(
      (0..<200).map { secret.timestampOffset(local, IPAddress(v4: 10, 0, 0, $0)) })
    #expect(offsets.count == 200)
  }

  // MARK: Ports

  private func ports(
    _ count: Int, to remotePort: UInt16 = 80, _ cursors: inout SourcePortCursors,
    isFree: (UInt16) -> Bool = { _ in true }
  ) -> [UInt16] {
    (0..<count).compactMap { _ in
      cursors.search(
        36864...57343, local: local, remote: remote, remotePort: remotePort, skip: { _ in 0 }
      ) { isFree($0) ? .free : .taken }
    }
  }

  /// RFC 6056 section 3.3.4: to one destination each port once before any comes again; to another
  /// somewhere else.
  @Test func sourcePorts() {
    var cursors = SourcePortCursors(secret: secret)
    let first = ports(20480, &cursors)
    #expect(Set(first).count == 20480)
    #expect(ports(1, &cursors) == [first[0]])
    var starts = Set<UInt16>()
    for remotePort in 1...100 { starts.formUnion(ports(1, to: UInt16(remotePort), &cursors)) }
    #expect(starts.count > 90)
    var others = SourcePortCursors(secret: other)
    #expect(ports(1, &others) != [first[0]])
  }

  /// A port that is in use is passed over; when all are, there is none.
  @Test func sourcePortsInUse() {
    var cursors = SourcePortCursors(secret: secret)
    let free = ports(10, &cursors) { $0 % 16 == 3 }
    #expect(Set(free).count == 10 && free.allSatisfy { $0 % 16 == 3 })
    #expect(ports(1, &cursors) { _ in false } == [])
  }

  /// Ports that are not to be asked for are left out, at the end of the range, too, and the search takes
  /// the same as one that asks for each; a range without any other ends it.
  @Test func sourcePortsOfOthers() {
    let range: ClosedRange<UInt16> = 40_000...40_100
    func search(
      _ cursors: inout SourcePortCursors, skip: (UInt16) -> UInt32, isFree: (UInt16) -> Bool
    ) -> UInt16? {
      cursors.search(range, local: local, remote: remote, remotePort: 80, skip: skip) {
        isFree($0) ? .free : .taken
      }
    }
    var stepping = SourcePortCursors(secret: secret)
    var asking = SourcePortCursors(secret: secret)
    var taken = Set<UInt16>()
    for _ in 0..<30 {
      let port = search(
        &stepping, skip: { UInt32((7 &- Int($0)) & 15) }, isFree: { $0 != 40_023 })
      #expect(
        port == search(&asking, skip: { _ in 0 }, isFree: { $0 & 15 == 7 && $0 != 40_023 }))
      if let port { taken.insert(port) }
    }
    #expect(taken == Set(range.filter { $0 & 15 == 7 && $0 != 40_023 }))
    #expect(search(&stepping, skip: { _ in 1 }, isFree: { _ in true }) == nil)
    #expect(search(&stepping, skip: { _ in 65_535 }, isFree: { _ in true }) == nil)
  }

  /// What was computed before is the same as what is computed anew, also when many hosts take each
  /// other's places, and for the same host from two addresses.
  @Test func timestampOffsetsAreRemembered() {
    var offsets = TimestampOffsets(secret: secret)
    for round in 0..<3 {
      for number: UInt8 in 0..<100 {
        let host = IPAddress(v4: 10, 0, 1, number / 2)
        let address = IPAddress(v4: 10, 0, 0, 1 + number % 2)
        for _ in 0...round {
          #expect(offsets.offset(address, host) == secret.timestampOffset(address, host))
        }
      }
    }
    let none = IPAddress(high: 0, low: 0)
    offsets = TimestampOffsets(secret: secret)
    #expect(offsets.offset(none, none) == secret.timestampOffset(none, none))
  }

  /// With all ports in TIME-WAIT not all are asked for: one that may be reused is taken soon.
  @Test func sourcePortsInTimeWait() {
    var cursors = SourcePortCursors(secret: secret)
    var ports = Set<UInt16>()
    for _ in 0..<100 {
      var asked = 0
      let port = cursors.search(
        36864...57343, local: local, remote: remote, remotePort: 80, skip: { _ in 0 }
      ) { _ in
        asked += 1
        return .reusable
      }
      #expect(asked == 128)
      if let port { ports.insert(port) }
    }
    #expect(ports.count == 100, "not the same one again")
    let port = cursors.search(
      36864...57343, local: local, remote: remote, remotePort: 80, skip: { _ in 0 }
    ) { $0 == 40_000 ? .reusable : .taken }
    #expect(port == 40_000)
  }
}
