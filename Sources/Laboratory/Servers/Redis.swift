import Foundation

extension NetworkHost {
  /// Starts redis-server on IPv4 and IPv6, without persistence. `core` pins it.
  public func startRedis(
    port: Int = 6379, core: Int? = nil, preloaded: Bool
  ) throws -> Server {
    let number = laboratory.nextNumber()
    let base = try laboratory.makeDirectory("redis-\(number)")
    let process = try start(
      [
        "redis-server", "--port", "\(port)", "--bind", "*", "-::*", "--protected-mode", "no",
        "--save", "", "--appendonly", "no", "--dir", base, "--maxclients", "4000",
        "--client-output-buffer-limit", "normal 0 0 0", "--enable-debug-command", "yes",
      ], preloaded: preloaded, core: core)
    return try Server(
      name: "redis-server", host: self, process: process, port: port, uploadDirectory: nil
    ).whenReady()
  }
}
