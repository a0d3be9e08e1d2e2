import FSRing
import FSStack

/// Answers each request, and closes the connection if it is a server of short ones.
struct ServerProgram {
  let application: RingApplication
  let response: [UInt8]
  let requestSize: Int
  let closes: Bool
  /// Bytes of an incomplete request, by slot.
  private var partial: [Int]

  init(_ application: RingApplication, requestSize: Int, responseSize: Int, closes: Bool) {
    self.application = application
    self.requestSize = requestSize
    self.closes = closes
    response = [UInt8](repeating: UInt8(ascii: "r"), count: responseSize)
    partial = [Int](repeating: 0, count: Int(application.geometry.slotCount))
  }

  /// Takes what has come.
  mutating func run() {
    _ = application.takeEvents { event in
      let slot = Int(event.slot)
      guard event.flags & EventFlags.failed == 0 else {
        fatalError("a connection failed: \(event.error)")
      }
      if event.flags & EventFlags.data != 0 {
        partial[slot] += Int(event.length)
        if partial[slot] == requestSize {
          partial[slot] = 0
          application.send(event.slot, response)
          if closes { application.close(event.slot) } else { application.consume(event.slot) }
        }
      }
      if event.flags & EventFlags.peerFinished != 0, !closes { application.close(event.slot) }
    }
    application.publish()
  }
}

/// Opens connections and sends requests.
struct ClientProgram {
  let application: RingApplication
  let request: [UInt8]
  let responseSize: Int
  let local: RingApplication.Endpoint
  private let remotes: [RingApplication.Endpoint]
  private var received: [Int]
  /// Connections that may be opened.
  private(set) var freeSlots: [UInt32]
  /// Connections that wait for a request.
  private(set) var idleSlots: [UInt32] = []
  private var opened = 0
  /// Answers that have come.
  private(set) var answers = 0
  /// Connections that were established.
  private(set) var established = 0
  /// Connections that are over.
  private(set) var released = 0
  /// Whether the first request goes out as soon as the connection is there.
  var sendsAtOnce = true

  init(
    _ application: RingApplication, local: IPAddress, remotes: [RingApplication.Endpoint],
    requestSize: Int, responseSize: Int
  ) {
    self.application = application
    self.local = RingApplication.Endpoint(high: local.high, low: local.low, port: 0)
    self.remotes = remotes
    self.responseSize = responseSize
    request = [UInt8](repeating: UInt8(ascii: "q"), count: requestSize)
    let geometry = application.geometry
    received = [Int](repeating: 0, count: Int(geometry.slotCount))
    freeSlots = Array((geometry.firstConnectSlot..<geometry.slotCount).reversed())
  }

  /// Opens a connection; false when there is no slot or no room for the command.
  mutating func open() -> Bool {
    guard application.commandRoom() > 8, let slot = freeSlots.popLast() else { return false }
    application.connect(slot, remotes[opened % remotes.count], local)
    opened += 1
    return true
  }

  /// Sends the next request on a connection that waits, chosen by `choice`.
  mutating func ask(_ choice: Int) -> Bool {
    guard !idleSlots.isEmpty, application.commandRoom() > 8 else { return false }
    let position = choice % idleSlots.count
    let slot = idleSlots[position]
    idleSlots[position] = idleSlots[idleSlots.count - 1]
    idleSlots.removeLast()
    application.send(slot, request)
    return true
  }

  /// Takes what has come.
  mutating func run() {
    _ = application.takeEvents { event in
      if event.kind == EventKind.released.rawValue {
        released += 1
        freeSlots.append(event.slot)
        return
      }
      guard event.flags & EventFlags.failed == 0 else {
        fatalError("a connection failed: \(event.error)")
      }
      if event.flags & EventFlags.connected != 0 {
        established += 1
        if sendsAtOnce {
          application.send(event.slot, request)
        } else {
          idleSlots.append(event.slot)
        }
      }
      if event.flags & EventFlags.data != 0 { take(event) }
      if event.flags & EventFlags.peerFinished != 0 { application.close(event.slot) }
    }
  }

  private mutating func take(_ event: Event) {
    let slot = Int(event.slot)
    received[slot] += Int(event.length)
    guard received[slot] == responseSize else { return }
    received[slot] = 0
    answers += 1
    if event.flags & EventFlags.peerFinished == 0 {
      application.consume(event.slot)
      idleSlots.append(event.slot)
    }
  }
}
