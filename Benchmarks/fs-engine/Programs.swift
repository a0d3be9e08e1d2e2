import FSRing
import FSStack

/// One end of a program's channel, and what it knows of each connection besides.
struct ProgramEnd {
  /// One connection, by its slot.
  private struct Connection {
    var chunks = ChannelEnd.ChunkQueue()
    /// Bytes of a message that has not come whole.
    var partial = 0
    /// Bytes read of which the engine has not been told.
    var unconsumed: UInt32 = 0
  }

  var channel: ChannelEnd
  private let message: [UInt8]
  private var connections: [Connection]

  /// A program that sends `message` on up to `connections` connections.
  init(connections: Int, sendChunks: Int, message: [UInt8]) {
    self.message = message
    channel = ChannelEnd(connections: connections, payload: message, sendChunks: sendChunks)
    self.connections = Array(repeating: Connection(), count: Int(channel.geometry.slotCount))
  }

  /// Gives `body` each event for whose answer there is room, and shows the engine what it has asked for.
  mutating func run(_ body: (inout Self, Event) -> Void) {
    guard let count = try? channel.readyCount() else { fatalError("the engine has lost its place") }
    var taken: UInt32 = 0
    while taken < count, channel.hasRoom() {
      let event = channel.events.element(at: taken)
      note(event)
      body(&self, event)
      taken += 1
    }
    channel.release(taken)
    channel.publish()
  }

  private mutating func note(_ event: Event) {
    guard event.flags & EventFlags.failed == 0 else {
      fatalError("a connection failed: \(event.error)")
    }
    let place = Int(event.slot)
    if event.acknowledged > 0 {
      channel.reclaim(event.acknowledged, &connections[place].chunks)
    }
    if event.flags & EventFlags.data != 0 {
      connections[place].partial += Int(event.length)
      connections[place].unconsumed += UInt32(event.length)
    }
  }

  /// Whether a message of `size` bytes has come whole; the next one begins then.
  mutating func takeMessage(_ slot: UInt32, _ size: Int) -> Bool {
    guard connections[Int(slot)].partial == size else { return false }
    connections[Int(slot)].partial = 0
    return true
  }

  /// Sends the program's message.
  mutating func send(_ slot: UInt32) {
    guard channel.send(message.count, on: slot, &connections[Int(slot)].chunks) else {
      fatalError("no chunk is free")
    }
  }

  /// Says that all received bytes have been read.
  mutating func consume(_ slot: UInt32) { submit(.consume, slot) }

  /// Reads what is there and closes.
  mutating func close(_ slot: UInt32) { submit(.close, slot) }

  private mutating func submit(_ kind: CommandKind, _ slot: UInt32) {
    var command = Command(kind, slot: slot)
    command.length = connections[Int(slot)].unconsumed
    connections[Int(slot)].unconsumed = 0
    channel.submit(command)
  }
}

/// Answers each request, and closes the connection if it is a server of short ones.
struct ServerProgram {
  private(set) var end: ProgramEnd
  private let requestSize: Int
  private let closes: Bool

  init(_ end: ProgramEnd, requestSize: Int, closes: Bool) {
    self.end = end
    self.requestSize = requestSize
    self.closes = closes
  }

  /// Takes what has come.
  mutating func run() {
    end.run { end, event in
      if event.flags & EventFlags.data != 0, end.takeMessage(event.slot, requestSize) {
        end.send(event.slot)
        if closes { end.close(event.slot) } else { end.consume(event.slot) }
      }
      if event.flags & EventFlags.peerFinished != 0, !closes { end.close(event.slot) }
    }
  }
}

/// Opens connections and sends requests.
struct ClientProgram {
  private(set) var end: ProgramEnd
  private let local: IPAddress
  private let remote: IPAddress
  private let ports: ClosedRange<UInt16>
  private let responseSize: Int
  /// Connections that wait for a request.
  private var idleSlots: [UInt32] = []
  private var opened = 0
  /// Answers that have come.
  private(set) var answers = 0
  /// Connections that were established.
  private(set) var established = 0
  /// Connections that are over.
  private(set) var released = 0
  /// Whether the first request goes out as soon as the connection is there.
  var sendsAtOnce = true

  /// Connects to the `ports` of `remote` in turn.
  init(
    _ end: ProgramEnd, local: IPAddress, remote: IPAddress, ports: ClosedRange<UInt16>,
    responseSize: Int
  ) {
    self.end = end
    self.local = local
    self.remote = remote
    self.ports = ports
    self.responseSize = responseSize
  }

  /// Opens a connection; false when there is no slot or no room for the command.
  mutating func open() -> Bool {
    guard end.channel.hasRoom(), let slot = end.channel.takeSlot() else { return false }
    var command = Command(.connect, slot: slot)
    command.remoteHigh = remote.high
    command.remoteLow = remote.low
    command.remotePort = ports.lowerBound + UInt16(opened % ports.count)
    command.localHigh = local.high
    command.localLow = local.low
    end.channel.submit(command)
    opened += 1
    return true
  }

  /// Sends the next request on a connection that waits, chosen by `choice`.
  mutating func ask(_ choice: Int) -> Bool {
    guard !idleSlots.isEmpty, end.channel.hasRoom() else { return false }
    idleSlots.swapAt(choice % idleSlots.count, idleSlots.count - 1)
    end.send(idleSlots.removeLast())
    return true
  }

  /// Shows the engine what has been asked for since the last turn.
  mutating func publish() { end.channel.publish() }

  /// Takes what has come.
  mutating func run() {
    end.run { end, event in
      if event.kind == EventKind.released.rawValue {
        released += 1
        end.channel.giveSlot(event.slot)
        return
      }
      if event.flags & EventFlags.connected != 0 {
        established += 1
        if sendsAtOnce { end.send(event.slot) } else { idleSlots.append(event.slot) }
      }
      let isFinished = event.flags & EventFlags.peerFinished != 0
      if event.flags & EventFlags.data != 0, end.takeMessage(event.slot, responseSize) {
        answers += 1
        if !isFinished {
          end.consume(event.slot)
          idleSlots.append(event.slot)
        }
      }
      if isFinished { end.close(event.slot) }
    }
  }
}
