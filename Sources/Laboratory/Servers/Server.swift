import Foundation

/// A server program that runs on a host.
public struct Server: Sendable {
  /// What it is, for messages.
  public let name: String
  /// Where it runs.
  public let host: NetworkHost
  /// Its first process.
  public let process: ChildProcess
  /// The port it listens on, on every address.
  public let port: Int
  /// Where uploaded files appear, if it takes any.
  public let uploadDirectory: String?
  /// Of one that runs apart from `process`: the file in which it writes its process number.
  public var processFile: String?
  /// Where it takes the orders of its administrator, if it has such a socket.
  public var administrationSocket: String?

  /// Waits until it listens.
  func whenReady() throws -> Server {
    let listens = try waitUntil(seconds: 15, every: 0.02) {
      guard process.isRunning else {
        throw LaboratoryError(
          "\(name) has ended: \(process.poll().map(\.description) ?? "")\n\(process.errorOutput)")
      }
      return try host.listeningPorts().contains(port)
    }
    guard listens else {
      throw LaboratoryError("\(name) does not listen on port \(port)\n\(process.errorOutput)")
    }
    return self
  }

  /// Waits until connections from other hosts are the engines'; returns at once where no daemon
  /// runs. The application's threads have then said that they take the connections of its IPv4 and
  /// of its IPv6 socket, if it has `sockets` of them.
  public func waitForAcceleration(sockets: Int = 2) throws {
    guard let daemon = host.daemon else { return }
    var known: [AcceleratedListener] = []
    let isAccelerated = try waitUntil(seconds: 5, every: 0.02) {
      known = try daemon.listeners().filter { $0.port == port }
      return known.count >= sockets && known.allSatisfy { !$0.acceptors.isEmpty }
    }
    guard isAccelerated else {
      throw LaboratoryError("port \(port) of \(name) is not accelerated: \(known)")
    }
  }

  /// The number of its main process.
  public func mainProcess() throws -> pid_t {
    guard let processFile else { return process.identifier }
    let text = try String(contentsOfFile: processFile, encoding: .utf8)
    guard let number = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw LaboratoryError("no number in \(processFile): \(text)")
    }
    return number
  }

  /// Ends it.
  public func stop() {
    if processFile != nil, let number = try? mainProcess() {
      kill(number, SIGTERM)
      waitUntil(seconds: 5, every: 0.02) { kill(number, 0) != 0 }
    }
    process.terminate()
    host.laboratory.discard(process)
  }

  /// URL of `path` on this server, reached at `end`.
  public func url(_ end: LinkEnd, _ family: AddressFamily, _ path: String = "") -> String {
    "http://\(end.urlAddress(family)):\(port)/\(path)"
  }
}
