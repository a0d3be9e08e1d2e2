@testable import FSStack

/// The other end of one connection, played by the test: it sends whatever the test says, right or
/// wrong. Sequence numbers count from the initial ones of both sides, as in a trace.
final class ScriptedPeer {
  private let simulation: Simulation
  let port: UInt16
  /// The engine's port.
  let otherPort: UInt16
  var initial: SequenceNumber
  var window: UInt16 = 65535
  /// It plays the server, and the engine has connected to it.
  var isServer = false

  /// B has no engine in such a simulation.
  init(
    _ simulation: Simulation, port: UInt16 = 1024, to otherPort: UInt16 = 80,
    initial: UInt32 = 0xffff_ff00
  ) {
    self.simulation = simulation
    self.port = port
    self.otherPort = otherPort
    self.initial = SequenceNumber(initial)
  }

  /// Where the engine's sequence numbers begin.
  var otherInitial: SequenceNumber {
    simulation.trace.initialSequence(
      from: simulation.a.address, otherPort, to: simulation.b.address, port)
      ?? SequenceNumber(0)
  }

  /// A segment's header: `sequence` and `acknowledgement` as in a trace.
  func header(_ flags: TCPFlags, _ sequence: Int, ack: Int? = nil) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.sourceMAC = simulation.b.macAddress
    header.destinationMAC = simulation.a.macAddress
    header.source = simulation.b.address
    header.destination = simulation.a.address
    header.sourcePort = port
    header.destinationPort = otherPort
    header.sequence = initial + UInt32(truncatingIfNeeded: sequence)
    header.flags = flags
    if let ack {
      header.flags.insert(.ack)
      header.acknowledgement = otherInitial + UInt32(truncatingIfNeeded: ack)
    }
    header.window = window
    return header
  }

  /// Sends a segment with `count` bytes of the pattern, and lets the engine answer.
  func send(
    _ flags: TCPFlags, _ sequence: Int, count: Int = 0, ack: Int? = nil,
    change: (inout OutgoingHeader) -> Void = { _ in }
  ) {
    var header = header(flags, sequence, ack: ack)
    change(&header)
    let payload = (0..<count).map {
      StreamPattern.byte(sequence - 1 + $0, port: isServer ? port : otherPort, toServer: !isServer)
    }
    simulation.send(header.frame(payload), from: 1)
    simulation.run(for: .microseconds(500))
  }

  /// Sends a frame as it is, and lets the engine answer.
  func send(_ frame: [UInt8]) {
    simulation.send(frame, from: 1)
    simulation.run(for: .microseconds(500))
  }

  /// What the engine has sent since the last call.
  func take() -> [String] { simulation.trace.take().filter { $0.hasPrefix("A>") } }

  /// Opens a connection to the engine's listener; maximum segment size 1460, and no other option
  /// than `change` sets in the SYN.
  func open(change: (inout OutgoingHeader) -> Void = { _ in }) {
    send(.syn, 0) {
      $0.options.maximumSegmentSize = 1460
      change(&$0)
    }
    send([], 1, ack: 1)
    _ = take()
  }
}
