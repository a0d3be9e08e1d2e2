import FSRing

@testable import FSStack

/// The bytes that tests send: each position of a stream has its own, so that a byte in the wrong
/// place is found where it is.
enum StreamPattern {
  /// The byte at a position of the stream that goes to (or comes from) a server's port.
  static func byte(_ position: Int, port: UInt16, toServer: Bool) -> UInt8 {
    let key = UInt64(port) << 1 | (toServer ? 1 : 0)
    let value =
      (UInt64(truncatingIfNeeded: position) &+ key &* 0x1_0000_0001) &* 0x9e37_79b9_7f4a_7c15
    return UInt8(truncatingIfNeeded: value >> 40)
  }
}

/// The application's side of one connection.
final class TestSocket {
  /// Received bytes that still are in their chunk.
  private struct Piece {
    var chunk: UInt32
    var offset: Int
    var length: Int
  }

  unowned let application: TestApplication
  let slot: UInt32
  /// The server's port; it chooses the pattern.
  let port: UInt16
  let isServer: Bool
  var endpoint = Event(.accepted, slot: 0)
  var isConnected: Bool
  var peerFinished = false
  var error: UInt16?
  /// The connection has been exported.
  private(set) var hasMoved = false
  private(set) var isClosed = false
  private(set) var isShut = false
  private(set) var isReleased = false
  private(set) var bytesSent = 0
  private(set) var bytesAcknowledged = 0
  private(set) var bytesReceived = 0
  /// The first position at which a wrong byte was read.
  private(set) var firstWrongByte: Int?
  private var pieces: [Piece] = []
  private var unreported: UInt32 = 0
  /// Send chunks in the order of their bytes.
  private var chunks: [(chunk: UInt32, end: Int)] = []
  /// Most bytes queued and not acknowledged.
  var sendBuffer = 64 * 1024

  init(_ application: TestApplication, slot: UInt32, port: UInt16, isServer: Bool) {
    self.application = application
    self.slot = slot
    self.port = port
    self.isServer = isServer
    isConnected = isServer
  }

  /// The same connection where it goes on.
  init(
    _ application: TestApplication, slot: UInt32, continuing old: TestSocket, sent: Int,
    received: Int
  ) {
    self.application = application
    self.slot = slot
    port = old.port
    isServer = old.isServer
    isConnected = true
    bytesSent = sent
    bytesAcknowledged = sent
    bytesReceived = received
    sendBuffer = 1 << 20
  }

  /// Positions in the stream that the engine has said to be urgent, and what it last said to be in
  /// flight.
  private(set) var urgentMarks: [Int] = []
  private(set) var inFlight = 0

  /// Bytes that can be read.
  var unread: Int { pieces.reduce(0) { $0 + $1.length } }
  /// Whether nothing that was sent waits for its acknowledgement.
  var isDrained: Bool { chunks.isEmpty }

  // MARK: Calls

  /// Sends the next `count` bytes of the pattern, as many as there is room for; returns how many.
  @discardableResult
  func send(_ count: Int, more: Bool = false, urgent: Bool = false) -> Int {
    guard !isClosed, !isShut, error == nil else { return 0 }
    var rest = min(count, sendBuffer - (bytesSent - bytesAcknowledged))
    var sent = 0
    while rest > 0, let chunk = application.takeChunk() {
      let length = min(rest, ChannelGeometry.sendChunkSize)
      // Not always at the beginning of the chunk: the offset is the engine's to add.
      let offset = length < 2048 ? bytesSent % 1024 : 0
      for index in 0..<length {
        let byte = StreamPattern.byte(bytesSent + index, port: port, toServer: !isServer)
        application.write(byte, chunk, offset + index)
      }
      var command = Command(.send, slot: slot, flags: more ? CommandFlags.more : 0)
      command.chunk = chunk
      command.offset = UInt16(offset)
      command.length = UInt32(length)
      if urgent, rest == length { command.flags |= CommandFlags.urgent }
      application.submit(command)
      bytesSent += length
      chunks.append((chunk, bytesSent))
      sent += length
      rest -= length
    }
    application.publish()
    return sent
  }

  /// Reads up to `limit` bytes and compares them with the pattern; returns how many.
  @discardableResult
  func read(_ limit: Int = .max) -> Int {
    var count = 0
    while count < limit, var piece = pieces.first {
      let part = min(piece.length, limit - count)
      for index in 0..<part {
        let byte = application.received(piece.chunk, piece.offset + index)
        let expected = StreamPattern.byte(bytesReceived + index, port: port, toServer: isServer)
        if byte != expected, firstWrongByte == nil { firstWrongByte = bytesReceived + index }
      }
      piece.offset += part
      piece.length -= part
      if piece.length == 0 { pieces.removeFirst() } else { pieces[0] = piece }
      bytesReceived += part
      unreported += UInt32(part)
      count += part
    }
    // Reported in batches, as the contract wants.
    if unreported > 0, pieces.isEmpty || unreported >= 16 * 1024 { consume() }
    return count
  }

  /// Tells the engine what has been read.
  func consume() {
    guard !isClosed, error == nil, unreported > 0 else { return }
    var command = Command(.consume, slot: slot)
    command.length = unreported
    unreported = 0
    application.submit(command)
    application.publish()
  }

  /// shutdown(SHUT_WR).
  func shutdown() {
    guard !isClosed, !isShut else { return }
    isShut = true
    application.submit(Command(.shutdown, slot: slot, flags: CommandFlags.shutWrite))
    application.publish()
  }

  /// close(2), with `reset` as after SO_LINGER 0.
  func close(reset: Bool = false) {
    guard !isClosed else { return }
    isClosed = true
    var command = Command(.close, slot: slot, flags: reset ? CommandFlags.reset : 0)
    command.length = unreported
    application.submit(command)
    application.publish()
    pieces.removeAll()
    application.forgetIfOver(self)
  }

  /// Gives the connection back untouched, for another acceptor.
  func handBack() {
    isClosed = true
    application.submit(Command(.handBack, slot: slot))
    application.publish()
    application.forgetIfOver(self)
  }

  /// getsockopt(TCP_INFO), answered when the engine runs the next time.
  func inquire(place: UInt32 = 0) -> () -> ConnectionReport? {
    var command = Command(.inquire, slot: slot)
    command.length = place
    return application.inquire(command)
  }

  /// setsockopt(2).
  func setOption(level: Int, name: Int, _ value: Int32) {
    var command = Command(.option, slot: slot)
    command.length = UInt32(level << 16 | name)
    command.value = value
    application.submit(command)
    application.publish()
  }

  // MARK: Events

  /// Takes an event; returns what is wrong with it.
  func take(_ event: Event) -> String? {
    if event.acknowledged > 0 {
      bytesAcknowledged += Int(event.acknowledged)
      guard bytesAcknowledged <= bytesSent else { return "more acknowledged than sent" }
      while let first = chunks.first, first.end <= bytesAcknowledged {
        application.freeChunks.append(first.chunk)
        chunks.removeFirst()
      }
    }
    if event.flags & EventFlags.failed != 0 {
      // All chunks are back, those of commands that the engine had not seen yet, too.
      application.freeChunks += chunks.map(\.chunk)
      chunks.removeAll()
    }
    if event.flags & EventFlags.moved != 0 {
      if hasMoved { return "moved twice" }
      hasMoved = true
    }
    // What else was posted before the engine saw the close is stale.
    if isClosed { return nil }
    if error != nil { return "an event after failure" }
    if event.flags & EventFlags.data != 0 {
      if peerFinished { return "data behind FIN" }
      guard event.length > 0,
        Int(event.offset) + Int(event.length) <= ChannelGeometry.receiveChunkSize,
        event.chunk < application.geometry.receiveChunkCount
      else { return "impossible data" }
      pieces.append(
        Piece(chunk: event.chunk, offset: Int(event.offset), length: Int(event.length)))
    }
    if event.kind == EventKind.progress.rawValue { inFlight = Int(event.inFlight) }
    if event.flags & EventFlags.urgent != 0 {
      urgentMarks.append(bytesReceived + unread + Int(event.urgentDistance))
    }
    if event.flags & EventFlags.connected != 0 {
      if isConnected { return "connected twice" }
      isConnected = true
      endpoint = event
    }
    if event.flags & EventFlags.peerFinished != 0 {
      if peerFinished { return "finished twice" }
      peerFinished = true
    }
    if event.flags & EventFlags.failed != 0 {
      if event.error == 0 { return "failed without error" }
      error = event.error
    }
    return nil
  }

  /// The engine has forgotten the slot.
  func release() -> String? {
    isReleased = true
    if !isClosed { return "released before close" }
    return isDrained ? nil : "released with \(chunks.count) send chunks not returned"
  }
}
