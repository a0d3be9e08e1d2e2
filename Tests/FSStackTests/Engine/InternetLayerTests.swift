import FSRing
import Testing

@testable import FSStack

/// What the Internet layer lets through to TCP: addresses, options, fragments, lengths.
@Suite struct InternetLayerTests {
  /// IPv4 options in a SYN: unknown ones are passed over (MUST-50), source routes are dropped (RFC 7126;
  /// this deviates from MUST-51), so are impossible lengths.
  @Test func ipv4Options() {
    let cases: [(name: String, options: String, isTaken: Bool)] = [
      ("NOPs", "01010101", true), ("end, then anything", "00 83ffff", true),
      ("router alert", "94040000", true), ("timestamp", "44080500 00000000", true),
      ("record route", "07070400000000 00", true), ("unknown", "9e040000", true),
      ("loose source route", "83070400000000 00", false),
      ("strict source route", "01 89070400000000", false),
      ("length 0", "44000000", false), ("length 1", "44010000", false),
      ("beyond the header", "44050000", false), ("no length", "01010144", false),
    ]
    for (name, options, isTaken) in cases {
      let pair = ScriptedPair()
      var frame = pair.peer.header(.syn, 0).frame()
      let inserted = bytes(options)
      frame.insert(contentsOf: inserted, at: 34)
      frame[14] = 0x45 + UInt8(inserted.count / 4)
      frame.put16(UInt16(frame.count - 14), at: 16)
      frame.fixIPv4Checksum()
      pair.simulation.send(frame, from: 1)
      pair.simulation.run(for: .milliseconds(1))
      let count = pair.simulation.a.engines[0].engine.halfOpen.records.count
      #expect(
        count == (isTaken ? 1 : 0) && pair.drops(.ipv4Options) == (isTaken ? 0 : 1), "\(name)")
    }
  }

  /// MUST-63: no SYN from an address that is no other single host's. CVE-1999-0016 (LAND): not from our
  /// own.
  @Test func invalidSources() {
    let sources = [
      IPAddress(v4: 0, 0, 0, 0), IPAddress(v4: 0, 1, 2, 3), IPAddress(v4: 127, 0, 0, 1),
      IPAddress(v4: 224, 0, 0, 1), IPAddress(v4: 239, 255, 255, 255),
      IPAddress(v4: 255, 255, 255, 255), IPAddress(v4: 10, 0, 0, 1),
    ]
    let pair = ScriptedPair()
    for source in sources { pair.peer.send(.syn, 0) { $0.source = source } }
    #expect(pair.peer.take() == [] && pair.drops(.sourceAddressInvalid) == UInt64(sources.count))
  }

  /// MUST-57: a SYN to a broadcast or multicast address, of the Internet or the link, gets no answer.
  @Test func notForOneHost() {
    let pair = ScriptedPair()
    for destination in [
      IPAddress(v4: 255, 255, 255, 255), IPAddress(v4: 10, 0, 0, 255), IPAddress(v4: 224, 0, 0, 1),
    ] {
      pair.peer.send(.syn, 0) { $0.destination = destination }
    }
    for link in [MACAddress.broadcast, MACAddress(1, 0, 0x5e, 0, 0, 1)] {
      pair.peer.send(.syn, 0) { $0.destinationMAC = link }
    }
    #expect(pair.peer.take() == [] && pair.drops(.destinationNotLocal) == 5)
    // Nor a RST for a segment that nobody has asked for.
    pair.peer.send(.ack, 5) { $0.destinationMAC = .broadcast }
    #expect(pair.peer.take() == [])
  }

  /// MUST-46: connect(2) to what is not one other host fails at once.
  @Test func connectRefused() {
    for isIPv4 in [true, false] {
      let pair = Pair(isIPv4: isIPv4)
      let addresses =
        isIPv4
        ? [
          IPAddress(v4: 224, 0, 0, 1), IPAddress(v4: 255, 255, 255, 255),
          IPAddress(v4: 127, 0, 0, 1), IPAddress(v4: 0, 0, 0, 0), pair.simulation.b.address,
        ]
        : [
          IPAddress(high: UInt64(0xff02_0000_0000_0000).bigEndian, low: UInt64(1).bigEndian),
          .unspecified, IPAddress(high: 0, low: UInt64(1).bigEndian), pair.simulation.b.address,
        ]
      for address in addresses {
        let socket = pair.client.connect(to: address, port: 80)
        pair.simulation.run(for: .milliseconds(1))
        #expect(socket.error == 101, "\(address)")
        socket.close()
      }
      #expect(pair.simulation.trace.lines == [] && pair.simulation.b.pathRequests == [])
    }
  }

  /// A fragment of a segment of ours is dropped and counted: neither delivered nor answered.
  @Test func fragments() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for word: UInt16 in [0x2000, 0x2001, 0x00b9, 0x1fff] {
      var frame = pair.peer.header(.psh, 1, ack: 1).frame([UInt8](repeating: 7, count: 100))
      frame.put16(word, at: 20)
      frame.fixIPv4Checksum()
      pair.simulation.send(frame, from: 1)
    }
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == [] && socket.unread == 0 && pair.drops(.fragment) == 4)
  }

  /// "IP total length > frame and < frame (Ethernet padding on 60-byte frames must be trimmed!)".
  @Test func padding() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let header = pair.peer.header(.psh, 1, ack: 1)
    let payload = [StreamPattern.byte(0, port: 80, toServer: true)]
    var frame = header.frame(payload)
    frame += [UInt8](repeating: 0xff, count: 60 - frame.count)
    pair.simulation.send(frame, from: 1)
    pair.simulation.run(for: .milliseconds(1))
    #expect(socket.unread == 1 && socket.read() == 1 && socket.firstWrongByte == nil)
    var short = header.frame(payload)
    short.removeLast()
    pair.simulation.send(short, from: 1)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.drops(.ipv4TotalLength) == 1 && socket.unread == 0)
  }

  /// RFC 6864: what may not be fragmented has no identification; every packet is one of those.
  @Test func identification() {
    let pair = ScriptedPair()
    var frames: [[UInt8]] = []
    pair.open().send(100)
    pair.simulation.run(for: .milliseconds(1))
    frames = pair.simulation.b.received.filter { $0[12] == 8 && $0[13] == 0 }
    #expect(!frames.isEmpty && frames.allSatisfy { $0[18...21] == [0, 0, 0x40, 0] })
  }
}
