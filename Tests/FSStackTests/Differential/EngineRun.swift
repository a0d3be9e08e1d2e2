@testable import FSStack

/// Runs a script against the engine, in virtual time.
struct EngineRun {
  private let simulation = Simulation(engines: (1, 0))
  private let application: TestApplication
  private var conversation: Conversation
  private var socket: TestSocket?
  /// A failed call has told the application of the error; it is told once.
  private var isErrorTold = false
  private var transcript = Transcript()

  static func transcript(of script: Script) -> Transcript {
    var run = EngineRun(script)
    for step in script.steps { run.perform(step) }
    for problem in run.application.problems { run.transcript.answer("problem: \(problem)") }
    return run.transcript
  }

  private init(_ script: Script) {
    simulation.observers[0].rules.isPeerHonest = false
    application = TestApplication(on: simulation.a.engines[0])
    conversation = Conversation(
      script, peer: simulation.b.address, peerPort: script.isPassive ? 1024 : 80,
      local: simulation.a.address, localPort: script.isPassive ? 80 : nil)
  }

  private mutating func perform(_ step: Step) {
    transcript.begin(step)
    if case .segments(let segments) = step {
      for segment in segments {
        inject(segment)
        collect()
      }
    } else if case .fill = step {
      fill()
    } else if let result = call(step) {
      transcript.answer(result)
    }
    simulation.run(for: .milliseconds(UInt64(step.duration)))
    collect()
  }

  private mutating func fill() {
    while let segment = conversation.fillingSegment(from: 1001) {
      inject(segment)
      for frame in simulation.b.received { _ = conversation.line(frame) }
      simulation.b.received.removeAll()
    }
    conversation.endFilling(from: 1001)
  }

  /// Each in a burst of its own, as Linux sees them.
  private mutating func inject(_ segment: PeerSegment) {
    let addresses = simulation.a.macAddress.bytes + simulation.b.macAddress.bytes
    simulation.send(addresses + [8, 0] + conversation.packet(segment), from: 1)
    simulation.run(for: .microseconds(150))
  }

  private mutating func collect() {
    for frame in simulation.b.received {
      if let line = conversation.line(frame) { transcript.answer(line) }
    }
    simulation.b.received.removeAll()
  }

  /// Performs a call of the application; returns its result where there is one to compare.
  private mutating func call(_ step: Step) -> String? {
    switch step {
    case .listen:
      application.listen(port: 80, now: simulation.now)
      return nil
    case .connect:
      socket = application.connect(to: conversation.peer, port: conversation.peerPort)
      return nil
    case .accept:
      socket = application.accept()
      return socket == nil ? "= EAGAIN" : "= accepted"
    case .state:
      return "= \(state)"
    case .wait, .segments, .fill:
      return nil
    case .send, .receive, .drain, .shutdown, .close, .abort, .option, .socketError:
      guard let socket else { return "= no socket" }
      return call(step, on: socket)
    }
  }

  private mutating func call(_ step: Step, on socket: TestSocket) -> String? {
    switch step {
    case .send(let count, let more):
      return send(count, more: more, on: socket)
    case .receive(let count):
      return receive(count, on: socket)
    case .drain:
      let count = socket.read()
      // As one finds out that there is no more, which takes the error.
      _ = receive(65536, on: socket)
      return "= filled + \(count - conversation.filled)"
    case .shutdown:
      socket.shutdown()
    case .close:
      socket.close()
      self.socket = nil
    case .abort:
      socket.close(reset: true)
      self.socket = nil
    case .option(let option, let value):
      socket.setOption(level: Int(option.level), name: Int(option.number), value)
    case .socketError:
      return "= \(takeError(of: socket) ?? "none")"
    case .listen, .connect, .accept, .state, .wait, .segments, .fill:
      return nil
    }
    return nil
  }

  private mutating func takeError(of socket: TestSocket) -> String? {
    guard let error = socket.error, !isErrorTold else { return nil }
    isErrorTold = true
    return ErrorName.of(Int32(error))
  }

  /// The rules of tcp(7) and send(2); the shim's own are compared with the kernel's by other tests.
  private mutating func send(_ count: Int, more: Bool, on socket: TestSocket) -> String {
    if let error = takeError(of: socket) { return "= \(error)" }
    if socket.isShut || socket.error != nil { return "= EPIPE" }
    if !socket.isConnected { return "= EAGAIN" }
    return "= \(socket.send(count, more: more))"
  }

  private mutating func receive(_ count: Int, on socket: TestSocket) -> String {
    let received = socket.read(count)
    if received > 0 { return "= \(received)" + (socket.firstWrongByte == nil ? "" : " wrong") }
    if socket.peerFinished { return "= 0" }
    if let error = takeError(of: socket) { return "= \(error)" }
    return socket.error == nil ? "= EAGAIN" : "= 0"
  }

  /// As in /proc/net/tcp, which knows no connection in CLOSED.
  private var state: TCPState {
    guard let port = conversation.localPort else { return .closed }
    let flow = Flow(
      local: conversation.local, localPort: port, remote: conversation.peer,
      remotePort: conversation.peerPort)
    let engine = simulation.a.engines[0]
    let hash = engine.engine.secret.hash(flow)
    return switch engine.engine.flows.find(flow, hash: hash) {
    case .connection(let id): engine.engine.connections[id].state
    case .halfOpen: .synReceived
    case .timeWait: .timeWait
    case nil: .closed
    }
  }
}

extension Script {
  /// The application listens, and the peer connects.
  var isPassive: Bool {
    !steps.contains { if case .connect = $0 { true } else { false } }
  }
}

/// The names of errno(3).
enum ErrorName {
  static func of(_ number: Int32) -> String {
    let names: [Int32: String] = [
      9: "EBADF", 11: "EAGAIN", 32: "EPIPE", 71: "EPROTO", 99: "EADDRNOTAVAIL", 104: "ECONNRESET",
      107: "ENOTCONN", 110: "ETIMEDOUT", 111: "ECONNREFUSED", 113: "EHOSTUNREACH",
    ]
    return names[number] ?? "errno \(number)"
  }
}
