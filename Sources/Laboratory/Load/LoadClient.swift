import CLaboratory
import Foundation

/// What a load client does.
public struct LoadPlan: Sendable {
  /// Address of the server, in text.
  public var address: String
  /// Its port.
  public var port: Int
  /// Path to ask for.
  public var path = "/text"
  /// Whether a connection is used for one request only.
  public var shortConnections: Bool
  /// Connections at any time.
  public var concurrency: Int
  /// How long it goes on, at most.
  public var seconds: Double
  /// Whether it shall end earlier; asked now and then.
  public var isOver: @Sendable () -> Bool = { false }
  /// Local addresses, taken in turn; any when empty.
  public var sources: [String] = []
  /// The body that every response must have.
  public var expectedBody: [UInt8]

  /// Creates a plan.
  public init(
    address: String, port: Int, path: String = "/text", shortConnections: Bool, concurrency: Int,
    seconds: Double, sources: [String] = [], expectedBody: [UInt8]
  ) {
    self.address = address
    self.port = port
    self.path = path
    self.shortConnections = shortConnections
    self.concurrency = concurrency
    self.seconds = seconds
    self.sources = sources
    self.expectedBody = expectedBody
  }
}

/// What a load client has seen.
public struct LoadResult: Sendable {
  /// Requests answered with exactly the expected body.
  public var requests = 0
  /// Responses that were something else.
  public var wrongResponses = 0
  /// Connections refused, reset or closed too early, with the first reason.
  public var failures = 0
  /// The first failure, in words.
  public var firstFailure: String?
  /// From the beginning of a request (with short connections: of its connection) to the last byte
  /// of its response.
  public var latency = Histogram()
  /// How long it took.
  public var seconds = 0.0

  /// Requests per second.
  public var rate: Double { seconds > 0 ? Double(requests) / seconds : 0 }
  /// Whether every request was answered as it should be.
  public var isClean: Bool { wrongResponses == 0 && failures == 0 && requests > 0 }
}

/// A closed-loop HTTP client in one thread: as light as sockets and epoll permit, so that the
/// server is what is measured, and it compares every body.
public struct LoadClient {
  private struct Connection {
    var descriptor: Int32 = -1
    var began: UInt64 = 0
    var isConnecting = false
    var received = 0
  }

  /// Bytes that a response may have, headers and body.
  private static let capacity = 16_384

  private let plan: LoadPlan
  private let remote: SocketAddress
  private let sources: [SocketAddress]
  private let request: [UInt8]
  private let epoll: Int32
  private var connections: [Connection]
  private var nextSource = 0
  private var result = LoadResult()
  /// `capacity` bytes for each connection.
  private var buffer: [UInt8]
  private var responseLength = 0

  /// Prepares a client; it opens its sockets in the namespace of the calling thread.
  public init(_ plan: LoadPlan) throws {
    self.plan = plan
    remote = try SocketAddress(plan.address, port: plan.port)
    sources = try plan.sources.map { try SocketAddress($0, port: 0) }
    let close = plan.shortConnections ? "Connection: close\r\n" : ""
    request = Array("GET \(plan.path) HTTP/1.1\r\nHost: lab\r\n\(close)\r\n".utf8)
    epoll = epoll_create1(0)
    connections = Array(repeating: Connection(), count: plan.concurrency)
    buffer = Array(repeating: 0, count: plan.concurrency * Self.capacity)
  }

  /// Runs the plan to its end.
  public mutating func run() -> LoadResult {
    let began = MonotonicTime.nanoseconds
    let end = began + UInt64(plan.seconds * 1e9)
    for index in connections.indices { open(index) }
    var events = unsafe [epoll_event](repeating: epoll_event(), count: 256)
    var now = MonotonicTime.nanoseconds
    while now < end, !plan.isOver() {
      let count = unsafe epoll_wait(epoll, &events, Int32(events.count), 10)
      for position in 0..<max(0, Int(count)) {
        unsafe handle(Int(events[position].data.u32), events[position].events)
      }
      now = MonotonicTime.nanoseconds
    }
    for connection in connections where connection.descriptor >= 0 {
      close(connection.descriptor)
    }
    close(epoll)
    result.seconds = Double(now - began) / 1e9
    return result
  }

  private mutating func open(_ index: Int) {
    let family = remote.family
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(family, kind, 0)
    guard descriptor >= 0 else { return fail(index, "socket") }
    connections[index] = Connection(descriptor: descriptor, began: MonotonicTime.nanoseconds)
    connections[index].isConnecting = true
    var one: Int32 = 1
    if !sources.isEmpty {
      // The port is chosen at connect(), so that one port serves several destinations.
      unsafe setsockopt(descriptor, Int32(IPPROTO_IP), 24, &one, 4)
      nextSource = (nextSource + 1) % sources.count
      guard unsafe sources[nextSource].withPointer({ unsafe bind(descriptor, $0, $1) }) == 0 else {
        return fail(index, "bind")
      }
    }
    unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
    let code = unsafe remote.withPointer { unsafe connect(descriptor, $0, $1) }
    guard code == 0 || errno == EINPROGRESS else { return fail(index, "connect") }
    watch(index, EPOLLOUT.rawValue, EPOLL_CTL_ADD)
  }

  private func watch(_ index: Int, _ events: UInt32, _ operation: Int32) {
    var event = unsafe epoll_event(events: events, data: epoll_data(u32: UInt32(index)))
    unsafe epoll_ctl(epoll, operation, connections[index].descriptor, &event)
  }

  private mutating func handle(_ index: Int, _ events: UInt32) {
    guard connections[index].descriptor >= 0 else { return }
    if connections[index].isConnecting {
      var code: Int32 = 0
      var length = socklen_t(4)
      unsafe getsockopt(connections[index].descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
      errno = code
      guard code == 0 else { return fail(index, "connect") }
      connections[index].isConnecting = false
      watch(index, EPOLLIN.rawValue | EPOLLRDHUP.rawValue, EPOLL_CTL_MOD)
      return sendRequest(index)
    }
    receive(index, isFinished: events & EPOLLRDHUP.rawValue != 0)
  }

  private mutating func sendRequest(_ index: Int) {
    connections[index].received = 0
    if !plan.shortConnections { connections[index].began = MonotonicTime.nanoseconds }
    let sent = unsafe send(
      connections[index].descriptor, request, request.count, Int32(MSG_NOSIGNAL))
    if sent != request.count { fail(index, "send") }
  }

  /// Reads what is there; `isFinished` when the server is known to have closed its side.
  private mutating func receive(_ index: Int, isFinished: Bool) {
    let descriptor = connections[index].descriptor
    let offset = connections[index].received
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      let rest = unsafe bytes[(index * Self.capacity + offset)..<((index + 1) * Self.capacity)]
      return unsafe recv(
        descriptor, UnsafeMutableRawBufferPointer(rebasing: rest).baseAddress, rest.count, 0)
    }
    if count < 0 && errno == EAGAIN { return }
    if count > 0 {
      connections[index].received += count
      guard isComplete(index), !plan.shortConnections || isFinished else { return }
    } else if count < 0 || !plan.shortConnections || !isComplete(index) {
      if count == 0 { errno = ECONNABORTED }
      return fail(index, "recv")
    }
    compare(index)
    result.latency.record(nanoseconds: MonotonicTime.nanoseconds - connections[index].began)
    guard plan.shortConnections else { return sendRequest(index) }
    forget(index)
    open(index)
  }

  /// Whether the whole response is there. The first one tells how long the headers are: they do
  /// not vary.
  private mutating func isComplete(_ index: Int) -> Bool {
    let received = connections[index].received
    if responseLength == 0 {
      guard let header = headerLength(index, received) else { return false }
      responseLength = header + plan.expectedBody.count
    }
    return received >= responseLength
  }

  /// Closes a connection. It leaves the epoll set before: another thread may just be starting a
  /// program, which for a moment holds a copy of the descriptor, and its events would be taken for
  /// those of the connection that follows.
  private mutating func forget(_ index: Int) {
    var none = unsafe epoll_event()
    unsafe epoll_ctl(epoll, EPOLL_CTL_DEL, connections[index].descriptor, &none)
    close(connections[index].descriptor)
    connections[index].descriptor = -1
  }

  private mutating func compare(_ index: Int) {
    let response = buffer[(index * Self.capacity)...].prefix(connections[index].received)
    let isEqual =
      response.count == responseLength && response.starts(with: "HTTP/1.1 200".utf8)
      && response.suffix(plan.expectedBody.count).elementsEqual(plan.expectedBody)
    if isEqual { result.requests += 1 } else { result.wrongResponses += 1 }
  }

  private func headerLength(_ index: Int, _ received: Int) -> Int? {
    let response = buffer[(index * Self.capacity)...].prefix(received)
    guard received >= 4 else { return nil }
    for end in 4...received where response.prefix(end).suffix(4).elementsEqual([13, 10, 13, 10]) {
      return end
    }
    return nil
  }

  private mutating func fail(_ index: Int, _ call: String) {
    result.failures += 1
    if result.firstFailure == nil {
      result.firstFailure = unsafe "\(call): \(String(cString: strerror(errno)))"
    }
    if connections[index].descriptor >= 0 { forget(index) }
    // A server that refuses everything would otherwise make this spin without end.
    if result.failures < 1_000 { open(index) }
  }
}
