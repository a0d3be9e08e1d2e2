import Foundation

/// The HAProxy settings that differ between tests.
public struct HAProxyOptions: Sendable, CustomStringConvertible {
  /// Number of threads.
  public var threads = 1
  /// The port.
  public var port = 80
  /// Address of the server behind it, `host:port`.
  public var backend: String
  /// Connections that it accepts at a time.
  public var maximumConnections = 4000
  /// Core to run on, or any.
  public var core: Int?
  /// Whether it runs as Debian starts it: a master and a worker that gives up root and its view of
  /// the file system.
  public var asDebian = false
  /// Whether it is a master and a worker, also without Debian's settings.
  public var isMaster = false
  /// Whether a reload gets the listening sockets from the process before it (`expose-fd listeners`).
  public var exposesListeners = false
  /// Whose listening sockets it takes over, and whom it then asks to finish (`-x` and `-sf`). That one
  /// has `exposesListeners`.
  public var predecessor: Server?
  /// Whether connections to the backend are kept and reused.
  public var reusesConnections = true

  /// The options of a plain proxy in front of `backend`.
  public init(
    threads: Int = 1, port: Int = 80, backend: String, core: Int? = nil, asDebian: Bool = false,
    reusesConnections: Bool = true
  ) {
    self.threads = threads
    self.port = port
    self.backend = backend
    self.core = core
    self.asDebian = asDebian
    self.reusesConnections = reusesConnections
  }

  /// For messages.
  public var description: String {
    "HAProxy with \(threads) thread(s)\(asDebian ? ", as Debian starts it" : "")"
  }
}

extension NetworkHost {
  /// Starts HAProxy on IPv4 and IPv6.
  public func startHAProxy(_ options: HAProxyOptions, preloaded: Bool) throws -> Server {
    let number = laboratory.nextNumber()
    let base = try laboratory.makeDirectory("haproxy-\(number)")
    let configuration = try laboratory.makeFile(
      "haproxy-\(number)/haproxy.cfg", options.configuration(base: base))
    let mode = options.asDebian || options.isMaster ? "-W" : "-db"
    var command = ["haproxy", mode, "-f", configuration]
    if let old = options.predecessor, let socket = old.administrationSocket {
      command += ["-x", socket, "-sf", "\(old.process.identifier)"]
    }
    let process = try start(command, preloaded: preloaded, core: options.core)
    return try Server(
      name: "\(options)", host: self, process: process, port: options.port, uploadDirectory: nil,
      administrationSocket: options.exposesListeners ? "\(base)/admin.sock" : nil
    ).whenReady()
  }
}

extension HAProxyOptions {
  fileprivate func configuration(base: String) -> String {
    let socket = "stats socket \(base)/admin.sock level admin expose-fd listeners"
    let debian = "chroot /var/lib/haproxy\n  user haproxy\n  group haproxy"
    return """
      global
        nbthread \(threads)
        maxconn \(maximumConnections)
        \(asDebian ? debian : "")
        \(exposesListeners ? socket : "")
      defaults
        mode http
        option http-keep-alive
        http-reuse \(reusesConnections ? "always" : "never")
        timeout connect 10s
        timeout client 60s
        timeout server 60s
      frontend public
        bind 0.0.0.0:\(port)
        bind :::\(port) v6only
        default_backend pages
      backend pages
        \(reusesConnections ? "" : "option httpclose")
        server one \(backend)

      """
  }
}
