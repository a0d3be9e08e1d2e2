import Foundation

extension NetworkHost {
  /// Starts redis-server on IPv4 and IPv6, without persistence.
  public func startRedis(port: Int = 6379, preloaded: Bool) throws -> Server {
    let number = laboratory.nextNumber()
    let base = try laboratory.makeDirectory("redis-\(number)")
    let process = try start(
      [
        "redis-server", "--port", "\(port)", "--bind", "*", "-::*", "--protected-mode", "no",
        "--save", "", "--appendonly", "no", "--dir", base, "--maxclients", "4000",
        "--client-output-buffer-limit", "normal 0 0 0", "--enable-debug-command", "yes",
      ], preloaded: preloaded)
    return try Server(
      name: "redis-server", host: self, process: process, port: port, uploadDirectory: nil
    ).whenReady()
  }
}
