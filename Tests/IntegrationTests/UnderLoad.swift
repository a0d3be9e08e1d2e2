import Foundation
import Laboratory
import Synchronization
import Testing

/// What is done to a server while it serves.
enum Operation {
  /// How often: `make test` and `make test-all`.
  static var times: Int { Tier.isEverything ? 20 : 3 }
}

/// Set by one thread, read by another.
private final class Flag: Sendable {
  private let value = Atomic(false)

  var isSet: Bool { value.load(ordering: .acquiring) }
  func set() { value.store(true, ordering: .releasing) }
}

/// What short connections ask for, and what they must get: nginx's /text, unless a file is named.
struct Asked {
  var path = "/text"
  var body = Array(NginxOptions().text.utf8)
}

/// Short connections to a server while `body` does something to it, and half a second longer.
func underLoad(
  _ network: Network, _ server: Server, _ asked: Asked = Asked(), _ body: () throws -> Void
) throws -> LoadResult {
  let over = Flag()
  var plan = LoadPlan(
    address: network.front.address4, port: server.port, path: asked.path, shortConnections: true,
    concurrency: 8, seconds: 300, expectedBody: asked.body)
  plan.isOver = { over.isSet }
  let outcome = Mutex<Result<LoadResult, any Error>?>(nil)
  let finished = DispatchSemaphore(value: 0)
  let (peer, load) = (network.peer, plan)
  Thread.detachNewThread {
    let result = Result {
      try peer.perform {
        var client = try LoadClient(load)
        return client.run()
      }
    }
    outcome.withLock { $0 = result }
    finished.signal()
  }
  let thrown = Result { try body() }
  Thread.sleep(forTimeInterval: 0.5)
  over.set()
  finished.wait()
  try thrown.get()
  let result = try #require(outcome.withLock { $0 }).get()
  print("\(result.requests) requests, \(Int(result.rate)) a second, \(result.failures) failures")
  return result
}

/// The load saw no failure, and the kernel accepted none of its connections.
func expectAccelerated(
  _ network: Network, _ server: Server, _ asked: Asked = Asked(), _ body: () throws -> Void
) throws {
  let before = try network.server.kernelCounters()
  let result = try underLoad(network, server, asked, body)
  let isClean = result.isClean
  #expect(isClean, "\(result.failures) failures: \(result.firstFailure ?? "none")")
  guard let daemon = network.server.daemon else { return }
  // What the engines were doing tells more than a client's failure.
  if !isClean { Issue.record("\(try daemon.statistics())") }
  let kernel = try network.server.kernelCounters().since(before)
  #expect(kernel["PassiveOpens"] == 0, "connections the kernel accepted")
}

/// Processes that accept connections to a port from engines.
func acceptors(_ network: Network, port: Int) throws -> Set<Int> {
  guard let daemon = network.server.daemon else { return [] }
  let listeners = try daemon.listeners().filter { $0.port == port }
  return Set(listeners.flatMap { $0.acceptors.map(\.process) })
}
