@testable import FSStack

/// An application that sends and reads at random, shuts down, and closes when both sides have.
final class RandomTraffic {
  let socket: TestSocket
  let bytesToSend: Int
  private unowned let simulation: Simulation
  private var random: SplitMix64
  /// Bytes after which it closes without regard for anything; nil when it behaves.
  private let givesUpAfter: Int?
  private var isResting = false
  /// Once true it neither rests nor dawdles.
  var isHurried = false

  init(
    _ socket: TestSocket, bytesToSend: Int, simulation: Simulation, seed: UInt64,
    givesUp: Bool = false
  ) {
    self.socket = socket
    self.bytesToSend = bytesToSend
    self.simulation = simulation
    random = SplitMix64(seed: seed)
    givesUpAfter = givesUp ? Int.random(in: 0...bytesToSend * 2 + 1, using: &random) : nil
    socket.sendBuffer = Int.random(in: 500...64 * 1024, using: &random)
    if random.chance(0.5) { socket.setOption(level: 6, name: 1, 1) }
  }

  /// Whether it has sent and read everything and has closed.
  var isOver: Bool { socket.isClosed }

  /// Does what there is to do.
  func step() {
    guard !socket.isClosed else { return }
    if socket.error != nil {
      socket.close()
      return
    }
    if let givesUpAfter, socket.bytesSent + socket.bytesReceived >= givesUpAfter,
      socket.isConnected
    {
      socket.close(reset: random.chance(0.3))
      return
    }
    guard !isResting else { return }
    if !isHurried, random.chance(0.1) {
      rest()
      return
    }
    socket.read(isHurried ? .max : Int.random(in: 1...20_000, using: &random))
    if socket.unread > 0 { rest() }
    if socket.isConnected { write() }
    if socket.isShut, socket.peerFinished, socket.unread == 0 { socket.close() }
  }

  private func write() {
    while socket.bytesSent < bytesToSend {
      let piece = min(
        bytesToSend - socket.bytesSent, Int.random(in: 1...10_000, using: &random))
      let sent = socket.send(piece, more: random.chance(0.1) && piece < 1000)
      if sent < piece {
        socket.application.wantSpace()
        return
      }
      if !isHurried, random.chance(0.2) {
        rest()
        return
      }
    }
    socket.shutdown()
  }

  private func rest() {
    guard !isResting else { return }
    isResting = true
    let pause = isHurried ? 1 : UInt64.random(in: 1...30_000, using: &random)
    simulation.after(.microseconds(pause)) { [self] in
      isResting = false
      step()
    }
  }
}
