import CLinux
@testable import FSDevice
import FSRing
import FSStack
import Glibc

@testable import fsd

/// A control server with imitations behind it, on a socket in a directory of its own. It runs when
/// a client waits, in the client's thread.
final class TestServer {
  let directory: TemporaryDirectory
  let loop: EventLoop
  let engines: [ImitationEngine]
  let steering = ImitationSteering()
  let network = ImitationNetwork()
  let server: ControlServer
  let made = ImitationSockets()

  init(engines count: Int = 1) throws {
    directory = try TemporaryDirectory()
    loop = try EventLoop()
    engines = (0..<count).map { ImitationEngine(index: $0, processor: $0) }
    let counter = Counter()
    let paths = PathDirectory(
      engines: engines, network: network, interfaces: [ImitationNetwork.interface])
    let engines = engines
    let made = made
    server = try ControlServer(
      listener: try ControlSocket.listen(at: directory.path + "/fsd.sock"), loop: loop,
      services: ControlServer.Services(
        engines: engines, listeners: ListenerTable(engines: engines, steering: steering),
        paths: paths,
        placement: EnginePlacement(processors: Array(0..<count), siblings: [:]),
        status: { .object([JSON.Member("kind", .string("status"))]) },
        statistics: {
          StatisticsReport.make(
            engines: engines.map { $0.snapshot() }, programs: [], uptimeNanoseconds: 0)
        },
        kernelSockets: { orders throws(DeviceError) in
          var numbers: [Int32] = []
          for order in orders { numbers.append(try made.make(order)) }
          return numbers
        },
        expectKernelFlow: { made.ports.append($0.localPort) },
        stop: { counter.value += 1 }))
    stopCounter = counter
  }

  private final class Counter {
    var value = 0
  }
  private let stopCounter: Counter
  /// How often the server was told to stop.
  var stopCount: Int { stopCounter.value }

  /// Lets the server do what there is to do.
  func run() {
    for _ in 0..<20 { loop.runOnce(nanoseconds: 1_000_000) }
  }

  func connect() throws -> TestClient { try TestClient(self) }
}

/// The kernel's sockets for exported connections: ends of pipes.
final class ImitationSockets {
  /// The other ends, by the port of the peer: gone when no one has the socket any more.
  var ends: [UInt16: Descriptor] = [:]
  /// Whether it was to be of AF_INET6, and whose.
  var requests: [(isIPv6: Bool, user: UInt32)] = []
  /// Ports on which the kernel was said to get connections.
  var ports: [UInt16] = []
  var fails = false

  func make(_ order: KernelConnection.Order) throws(DeviceError) -> Int32 {
    if fails { throw .system(operation: "binding", subject: "a test", errno: EADDRINUSE) }
    requests.append((order.isIPv6, order.user))
    var numbers: [Int32] = [0, 0]
    guard unsafe pipe(&numbers) == 0 else { throw .unsupported("no pipe") }
    ends[order.connection.address.remotePort] = Descriptor(adopting: numbers[0])
    return numbers[1]
  }

  /// Whether someone still has the socket for a peer's port.
  func isOpen(_ port: UInt16) -> Bool {
    guard let end = ends[port] else { return false }
    waitForForeignDescriptors()
    var entry = pollfd(fd: end.number, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, 0) == 0
  }
}

/// A process with the shim, as far as the control socket is concerned.
final class TestClient {
  let socket: Descriptor
  let server: TestServer
  private var request: UInt32 = 0

  init(_ server: TestServer) throws {
    self.server = server
    socket = try ControlSocket.connect(to: server.directory.path + "/fsd.sock")
  }

  /// One whose connection has come from elsewhere.
  init(_ server: TestServer, socket: Descriptor) {
    self.server = server
    self.socket = socket
  }

  /// What comes next; `.empty` if nothing does.
  func receive() -> ControlPacket.Arrival {
    for _ in 0..<50 {
      switch ControlPacket.receive(from: socket.number, textLimit: 1 << 16) {
      case .empty: server.loop.runOnce(nanoseconds: 1_000_000)
      case let arrival: return arrival
      }
    }
    return .empty
  }

  /// Sends a request and returns its reply; nil when the server has closed the connection.
  func ask(
    _ kind: ControlKind, descriptors: [Descriptor] = [],
    _ change: (inout ControlMessage) -> Void = { _ in }
  ) throws -> ControlPacket? {
    request += 1
    var message = ControlMessage(kind, request: request)
    change(&message)
    try ControlPacket(message: message, descriptors: descriptors).send(to: socket.number)
    guard case .packet(let reply) = receive() else { return nil }
    return reply
  }

  /// Sends a request and does not wait for the reply.
  func tell(_ kind: ControlKind, descriptors: [Descriptor] = []) throws {
    request += 1
    try ControlPacket(message: ControlMessage(kind, request: request), descriptors: descriptors)
      .send(to: socket.number)
  }

  /// Sends bytes as they are.
  func sendRaw(_ bytes: [UInt8]) {
    var bytes = bytes
    _ = unsafe bytes.withUnsafeMutableBytes {
      unsafe send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
  }

  /// Whether the server has closed the connection.
  var isClosed: Bool {
    if case .end = receive() { true } else { false }
  }
}

/// A directory that goes with the test.
final class TemporaryDirectory {
  let path: String

  init() throws {
    let template = unsafe strdup("/tmp/fsd-test-XXXXXX")
    defer { unsafe free(template) }
    guard let template = unsafe template, unsafe mkdtemp(template) != nil else {
      throw SystemError("mkdtemp")
    }
    path = unsafe String(cString: template)
  }

  deinit {
    for name in ["fsd.sock", "fsd.pid", "fsd.log", "restore"] { unlink(path + "/" + name) }
    rmdir(path)
  }
}

/// Waits until descriptors that other processes had, too, are closed.
func waitForForeignDescriptors() {
  for _ in 0..<1000 where !ForeignDescriptors.isIdle { usleep(1000) }
}

/// Descriptors of this process.
func openDescriptors() -> Int {
  waitForForeignDescriptors()
  var count = 0
  guard let directory = unsafe opendir("/proc/self/fd") else { return -1 }
  while unsafe readdir(directory) != nil { count += 1 }
  unsafe closedir(directory)
  return count
}

/// Runs `body` in a network namespace that is made for it, and comes back. Only this thread goes there.
func inOtherNetwork<Value>(_ body: () throws -> Value) throws -> Value {
  let home = Descriptor(adopting: open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC))
  guard unshare(CLONE_NEWNET) == 0 else { throw SystemError("unshare") }
  defer { precondition(setns(home.number, CLONE_NEWNET) == 0, "the thread cannot come back") }
  return try body()
}

/// A kernel socket that listens on a free port of the loopback interface's or any address.
func listeningSocket(
  _ address: String = "0.0.0.0", reusePort: Bool = false, port: UInt16 = 0
) throws -> (socket: Descriptor, port: UInt16) {
  let number = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  let socket = Descriptor(adopting: number)
  if reusePort {
    var one: Int32 = 1
    _ = unsafe setsockopt(number, SOL_SOCKET, SO_REUSEPORT, &one, 4)
  }
  var endpoint = sockaddr_in()
  endpoint.sin_family = sa_family_t(AF_INET)
  endpoint.sin_port = port.bigEndian
  endpoint.sin_addr.s_addr = unsafe inet_addr(address)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = unsafe withUnsafeMutablePointer(to: &endpoint) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
      unsafe bind(number, address, length) == 0 && listen(number, 16) == 0
        && getsockname(number, address, &length) == 0
    }
  }
  guard result else { throw SystemError("bind") }
  return (socket, UInt16(bigEndian: endpoint.sin_port))
}

/// A connection to a port of this host with bytes that its peer does not take, and SO_LINGER.
func lingeringSocket(_ port: UInt16, seconds: Int) throws -> Descriptor {
  let socket = Descriptor(adopting: Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
  var endpoint = sockaddr_in()
  endpoint.sin_family = sa_family_t(AF_INET)
  endpoint.sin_port = port.bigEndian
  endpoint.sin_addr.s_addr = unsafe inet_addr("127.0.0.1")
  let isConnected = unsafe withUnsafePointer(to: &endpoint) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      unsafe connect(socket.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
  guard isConnected else { throw SystemError("connect") }
  var lingering = linger(l_onoff: 1, l_linger: Int32(seconds))
  _ = unsafe setsockopt(
    socket.number, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
  var bytes = [UInt8](repeating: 1, count: 1 << 16)
  while unsafe send(socket.number, &bytes, bytes.count, Int32(MSG_DONTWAIT)) > 0 {}
  return socket
}
