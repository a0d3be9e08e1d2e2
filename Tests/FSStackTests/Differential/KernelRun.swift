import CLaboratory
import Glibc

@testable import FSStack

/// One script under way against Linux, in real time.
final class KernelRun {
  let script: Script
  private(set) var conversation: Conversation
  private(set) var transcript = Transcript()
  private let network: KernelNetwork
  private let isPassive: Bool
  private var listener: Int32 = -1
  private var socket: Int32 = -1
  private var bytesSent = 0
  private var bytesReceived = 0
  private var next = 0

  init(_ script: Script, number: Int, on network: KernelNetwork) {
    self.script = script
    self.network = network
    isPassive = script.isPassive
    conversation = Conversation(
      script, peer: IPAddress(v4: 10, 200, UInt8(1 + number / 250), UInt8(1 + number % 250)),
      peerPort: script.isPassive ? 1024 : 80, local: KernelNetwork.address,
      localPort: script.isPassive ? UInt16(2000 + number % 30_000) : nil)
  }

  deinit {
    if socket >= 0 { Glibc.close(socket) }
    if listener >= 0 { Glibc.close(listener) }
  }

  /// Performs the next step and returns for how many milliseconds answers are to be collected; nil
  /// after the last.
  func step() -> Int? {
    guard next < script.steps.count else { return nil }
    let step = script.steps[next]
    next += 1
    transcript.begin(step)
    if case .segments(let segments) = step {
      for segment in segments { network.inject(conversation.packet(segment)) }
    } else if case .fill = step {
      fill()
    } else if let result = call(step) {
      transcript.answer(result)
    }
    return step.duration
  }

  private func fill() {
    while let segment = conversation.fillingSegment(from: 1001) {
      network.inject(conversation.packet(segment))
      for frame in network.take(for: conversation.peer) { _ = conversation.line(frame) }
    }
    conversation.endFilling(from: 1001)
  }

  /// Notes a frame if it is for this script's peer.
  func take(_ frame: [UInt8]) {
    if let line = conversation.line(frame) { transcript.answer(line) }
  }

  private var state: TCPState {
    guard let port = conversation.localPort else { return .closed }
    return network.state(
      local: (conversation.local, port), remote: (conversation.peer, conversation.peerPort))
  }

  // MARK: Calls

  private func call(_ step: Step) -> String? {
    switch step {
    case .listen:
      return listen()
    case .connect:
      return connect()
    case .accept:
      socket = Glibc.accept(listener, nil, nil)
      return socket >= 0 ? "= accepted" : "= \(ErrorName.of(errno))"
    case .state:
      return "= \(state)"
    case .wait, .segments, .fill:
      return nil
    case .send, .receive, .drain, .shutdown, .close, .abort, .option, .socketError:
      return socket >= 0 ? call(step, on: socket) : "= no socket"
    }
  }

  private func call(_ step: Step, on socket: Int32) -> String? {
    switch step {
    case .send(let count, let more):
      return send(count, more: more)
    case .receive(let count):
      return receive(count)
    case .drain:
      return drain()
    case .shutdown:
      Glibc.shutdown(socket, Int32(SHUT_WR))
    case .close:
      Glibc.close(socket)
      self.socket = -1
    case .abort:
      var option = linger(l_onoff: 1, l_linger: 0)
      setsockopt(socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
      Glibc.close(socket)
      self.socket = -1
    case .option(let option, var value):
      let size = socklen_t(MemoryLayout<Int32>.size)
      guard setsockopt(socket, option.level, option.number, &value, size) == 0 else {
        return "= \(ErrorName.of(errno))"
      }
    case .socketError:
      var error: Int32 = 0
      var size = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size)
      return "= \(error == 0 ? "none" : ErrorName.of(error))"
    case .listen, .connect, .accept, .state, .wait, .segments, .fill:
      return nil
    }
    return nil
  }

  /// With CUBIC, which a namespace may not have as its default if the machine's is another.
  private static func makeSocket() -> Int32 {
    let kind = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
    let socket = Glibc.socket(AF_INET, Int32(bitPattern: kind), 0)
    guard setsockopt(socket, Int32(IPPROTO_TCP), TCP_CONGESTION, "cubic", 5) == 0 else {
      Glibc.close(socket)
      return -1
    }
    return socket
  }

  private static func address(_ address: IPAddress, _ port: UInt16) -> sockaddr_in {
    var result = sockaddr_in()
    result.sin_family = sa_family_t(AF_INET)
    result.sin_port = port.bigEndian
    result.sin_addr.s_addr = address.v4Native
    return result
  }

  private func listen() -> String? {
    listener = Self.makeSocket()
    var place = Self.address(conversation.local, conversation.localPort ?? 0)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) }
    }
    guard isBound == 0, Glibc.listen(listener, 8) == 0 else { return "= \(ErrorName.of(errno))" }
    return nil
  }

  private func connect() -> String? {
    socket = Self.makeSocket()
    var place = Self.address(conversation.peer, conversation.peerPort)
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(socket, $0, size) }
    }
    return result == 0 || errno == EINPROGRESS ? nil : "= \(ErrorName.of(errno))"
  }

  private func send(_ count: Int, more: Bool) -> String {
    let bytes = Array(ScriptPattern.bytes(bytesSent, count, toServer: !isPassive))
    let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0))
    let sent = Glibc.send(socket, bytes, count, flags)
    guard sent >= 0 else { return "= \(ErrorName.of(errno))" }
    bytesSent += sent
    return "= \(sent)"
  }

  private func receive(_ count: Int) -> String {
    var bytes = [UInt8](repeating: 0, count: count)
    let received = recv(socket, &bytes, count, Int32(MSG_DONTWAIT))
    guard received >= 0 else { return "= \(ErrorName.of(errno))" }
    let isPattern =
      received == 0
      || ScriptPattern.isEqual(bytes[..<received], bytesReceived, toServer: isPassive)
    bytesReceived += received
    return "= \(received)" + (isPattern ? "" : " wrong")
  }

  private func drain() -> String {
    let start = bytesReceived
    var last = -1
    while last != bytesReceived {
      last = bytesReceived
      _ = receive(65536)
    }
    return "= filled + \(bytesReceived - start - conversation.filled)"
  }
}
