import Foundation
import Laboratory

extension Scenario {
  /// Bytes of a response's body, of a value or of a message.
  static let size = 64
  /// Where a proxy finds its server, which is the generator.
  static let backendPort = 9_000

  /// What an HTTP server is asked for.
  var path: String {
    if case .lighttpd = program { return "/text.bin" }
    return "/text"
  }

  /// Starts the program on the server's core. The kernel's has a port of its own: what the kernel
  /// remembers of its connections (TIME-WAIT) stays its own.
  func start(on testbed: Testbed, _ carrier: Carrier) throws -> Server {
    let isPreloaded = carrier == .fsd
    let port = isPreloaded ? 80 : 8_080
    let core = Testbed.serverCore
    let host = testbed.server
    switch program {
    case .nginx:
      var options = NginxOptions(port: port, core: core)
      options.connections = 4096 + idle
      return try host.startNginx(options, preloaded: isPreloaded).whenAccelerated()
    case .haproxy:
      let options = HAProxyOptions(
        port: port, backend: "\(testbed.clientEnd.address4):\(Self.backendPort)", core: core,
        reusesConnections: !isShort)
      return try host.startHAProxy(options, preloaded: isPreloaded).whenAccelerated()
    case .lighttpd:
      let root = try testbed.laboratory.makeDirectory("pages")
      _ = try testbed.laboratory.makeFile(
        "pages/text.bin", String(repeating: "x", count: Self.size))
      return try host.startLighttpd(root: root, port: port, core: core, preloaded: isPreloaded)
        .whenAccelerated()
    case .redis:
      let server = try host.startRedis(port: port, core: core, preloaded: isPreloaded)
        .whenAccelerated()
      try testbed.client.run(
        ["redis-cli", "-h", testbed.serverEnd.address4, "-p", "\(port)", "SET", "fs-load"]
          + [String(repeating: "x", count: Self.size)])
      return server
    case .echo(let mode):
      let command = [testbed.laboratory.artifacts.echo, mode.rawValue, "\(port)"]
      return try host.startServer(
        "fs-echo", command, port: port, core: core, preloaded: isPreloaded
      ).whenAccelerated(sockets: 1)
    }
  }
}

extension Server {
  fileprivate func whenAccelerated(sockets: Int = 2) throws -> Server {
    try waitForAcceleration(sockets: sockets)
    return self
  }
}
