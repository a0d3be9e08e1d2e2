import Foundation
import Laboratory
import Testing

/// All integration tests; they share the machine's two cores, so one runs at a time.
@Suite(.serialized, .enabled(if: geteuid() == 0, "network namespaces need root"))
struct Integration {}

/// The hosts of the integration tests:
///
///     peer ---- front [server] back ---- backend
///
/// fsd runs on the server, on both of its interfaces; the other two hosts are the kernel's.
struct Network: Sendable {
  let laboratory: Laboratory
  let peer: NetworkHost
  let server: NetworkHost
  let backend: NetworkHost
  let peerEnd: LinkEnd
  let front: LinkEnd
  let back: LinkEnd
  let backendEnd: LinkEnd
  let content: Content
  /// What lies between peer and server, if that is not a plain link.
  let impairment: Impairment?

  init(queues: Int, isImpaired: Bool) throws {
    laboratory = try Laboratory()
    peer = try laboratory.host("peer")
    server = try laboratory.host("server")
    backend = try laboratory.host("backend")
    let options = LinkOptions(queues: queues)
    if isImpaired {
      (peerEnd, front, impairment) = try laboratory.impairedLink(
        peer, "eth0", server, "front", subnet: 1)
    } else {
      (peerEnd, front) = try laboratory.link(
        peer, "eth0", server, "front", subnet: 1, options: options)
      impairment = nil
    }
    (back, backendEnd) = try laboratory.link(
      server, "back", backend, "eth0", subnet: 2, options: options)
    content = try laboratory.makeContent()
  }

  /// Whether there is a daemon to be tested.
  static var hasDaemon: Bool {
    ProcessInfo.processInfo.environment["FS_LAB_KERNEL"] != "1"
  }

  @TaskLocal private static var current: Network?

  /// The network of the running suite.
  static func running() throws -> Network {
    try #require(current)
  }

  func startDaemon(options: [String] = []) throws {
    try server.startDaemon(interfaces: [front.interface, back.interface], options: options)
  }

  fileprivate static func provide(
    queues: Int, startsDaemon: Bool, isImpaired: Bool, to body: () async throws -> Void
  ) async throws {
    Laboratory.tearDownWhenInterrupted()
    let network = try Network(queues: queues, isImpaired: isImpaired)
    defer { network.laboratory.tearDown() }
    if startsDaemon { try network.startDaemon() }
    try await $current.withValue(network) { try await body() }
  }
}

/// Gives a suite its network, with a running daemon unless its tests start their own.
struct NetworkTrait: SuiteTrait, TestScoping {
  let queues: Int
  let startsDaemon: Bool
  let isImpaired: Bool

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await Network.provide(
      queues: queues, startsDaemon: startsDaemon, isImpaired: isImpaired, to: function)
  }
}

extension Trait where Self == NetworkTrait {
  /// A network whose links have `queues` queues: one engine for each.
  /// With `isImpaired`, frames between peer and server suffer what `Network.impairment` is told.
  static func network(
    queues: Int = 1, startsDaemon: Bool = true, isImpaired: Bool = false
  ) -> Self {
    NetworkTrait(queues: queues, startsDaemon: startsDaemon, isImpaired: isImpaired)
  }
}
