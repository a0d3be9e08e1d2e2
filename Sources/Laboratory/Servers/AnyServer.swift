import Foundation

extension NetworkHost {
  /// Starts a server program by its ordinary command line, and waits until it listens on `port`. `core`
  /// pins it.
  public func startServer(
    _ name: String, _ arguments: [String], port: Int, core: Int? = nil, preloaded: Bool,
    environment: [String: String] = [:]
  ) throws -> Server {
    let process = try start(arguments, preloaded: preloaded, core: core, environment: environment)
    return try Server(
      name: name, host: self, process: process, port: port, uploadDirectory: nil
    ).whenReady()
  }
}
