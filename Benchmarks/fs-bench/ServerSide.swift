import Laboratory

extension Scenario {
  /// Starts the program on the server's core. The kernel's has a port of its own: what the kernel
  /// remembers of its connections (TIME-WAIT) stays its own.
  func start(on testbed: Testbed, _ carrier: Carrier) throws -> Server {
    let isPreloaded = carrier == .fsd
    let port = isPreloaded ? 80 : 8_080
    let core = Testbed.serverCore
    let host = testbed.server
    let server: Server
    switch program {
    case .nginx:
      var options = NginxOptions(port: port, core: core)
      options.connections = 1024 + connections * 2 + idle
      server = try host.startNginx(options, preloaded: isPreloaded)
    case .haproxy, .lighttpd, .redis, .echo:
      throw LaboratoryError("not there yet: \(name)")
    }
    try server.waitForAcceleration()
    return server
  }
}
