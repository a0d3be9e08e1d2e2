import Testing

@testable import FSStack

/// Urgent pointers that broke others: URGENT/11 (CVE-2019-12255, -12261, -12263), uIP CVE-2020-17437,
/// NicheStack CVE-2021-31400 and -31401, Linux CVE-2017-6214 (docs/bug-catalogue.md).
@Suite struct UrgentCatalogueTests {
  /// A segment with URG and its pointer, wherever that points.
  private func send(
    _ pair: ScriptedPair, _ flags: TCPFlags, _ sequence: Int, count: Int, pointer: UInt16
  ) {
    let header = pair.peer.header(flags.union(.urg), sequence, ack: 1)
    let payload = (0..<count).map {
      StreamPattern.byte(sequence - 1 + $0, port: 80, toServer: true)
    }
    var frame = header.frame(payload)
    frame.put16(pointer, at: 52)
    pair.peer.send(resized: frame)
  }

  static let pointers: [UInt16] = [0, 1, 9, 10, 11, 100, 32_767, 32_768, 65_535]

  /// In order, ahead of a gap, with FIN, without data, and twice: the stream has all its bytes.
  @Test(arguments: pointers, [0, 1, 10])
  func anyPointer(pointer: UInt16, count: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    send(pair, [], 21, count: count, pointer: pointer)
    send(pair, [], 1, count: 10, pointer: pointer)
    send(pair, [], 1, count: 20, pointer: pointer)
    send(pair, [], 21, count: 10, pointer: pointer)
    send(pair, .fin, 31, count: count, pointer: pointer)
    #expect(socket.peerFinished && socket.error == nil)
    #expect(socket.read() == 30 + count && socket.firstWrongByte == nil)
  }

  /// In a SYN and in a RST it means nothing.
  @Test(arguments: pointers)
  func withoutConnection(pointer: UInt16) {
    let pair = ScriptedPair()
    var frame = pair.peer.header([.syn, .urg], 0).frame()
    frame.put16(pointer, at: 52)
    pair.peer.send(resized: frame)
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.keepsNumbers = true
    let socket = pair.server.accept()
    pair.peer.send([], 1, count: 10, ack: 1)
    #expect(socket?.unread == 10)
    send(pair, .rst, 11, count: 0, pointer: pointer)
    #expect(socket?.error == 104)
  }

  /// A pointer around the wrap of the numbers, and one that lies in the window's last byte.
  @Test(arguments: [0xffff_fffa, 0xffff_fff0, 0x7fff_fffa] as [UInt32])
  func aroundTheWrap(initial: UInt32) {
    let pair = ScriptedPair()
    let peer = ScriptedPeer(pair.simulation, initial: initial)
    peer.open()
    guard let socket = pair.server.accept() else { return }
    for pointer in Self.pointers {
      let sequence = 1 + socket.bytesReceived
      var frame = peer.header([.urg, .psh], sequence, ack: 1).frame(
        (0..<10).map { StreamPattern.byte(sequence - 1 + $0, port: 80, toServer: true) })
      frame.put16(pointer, at: 52)
      pair.simulation.send(frame, from: 1)
      frame.fixTransportChecksum(at: 34)
      pair.peer.send(frame)
      socket.read()
    }
    #expect(socket.bytesReceived == 90 && socket.firstWrongByte == nil && socket.error == nil)
  }
}
