import Foundation

/// The nginx settings that differ between tests.
public struct NginxOptions: Sendable, CustomStringConvertible {
  /// Number of worker processes.
  public var workers = 1
  /// `accept_mutex`.
  public var acceptMutex = false
  /// `reuseport` in the listen directives.
  public var reusePort = false
  /// The port.
  public var port = 80
  /// Directory with the pages.
  public var root: String?
  /// Core to run on, or any.
  public var core: Int?
  /// Whether it runs as a service does, apart from whoever started it: then USR2 upgrades its binary.
  public var isDetached = false
  /// Connections that a worker can have.
  public var connections = 4096
  /// Text that `/text` answers with.
  public var text = String(repeating: "x", count: 64)

  /// The options of a plain server of one worker.
  public init(
    workers: Int = 1, acceptMutex: Bool = false, reusePort: Bool = false, port: Int = 80,
    root: String? = nil, core: Int? = nil
  ) {
    self.workers = workers
    self.acceptMutex = acceptMutex
    self.reusePort = reusePort
    self.port = port
    self.root = root
    self.core = core
  }

  /// For messages.
  public var description: String {
    "nginx with \(workers) worker(s), accept_mutex \(acceptMutex ? "on" : "off"), "
      + "reuseport \(reusePort ? "on" : "off")"
  }
}

extension NetworkHost {
  /// Starts nginx on IPv4 and IPv6. It serves `options.root` at /, takes PUT at /upload/, and
  /// answers /text from memory.
  public func startNginx(_ options: NginxOptions, preloaded: Bool) throws -> Server {
    let number = laboratory.nextNumber()
    let base = try laboratory.makeDirectory("nginx-\(number)")
    let uploads = try laboratory.makeDirectory("nginx-\(number)/upload")
    for directory in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
      try laboratory.makeDirectory("nginx-\(number)/\(directory)")
    }
    let configuration = try laboratory.makeFile(
      "nginx-\(number)/nginx.conf", options.configuration(base: base))
    var command = ["nginx", "-p", base, "-e", "\(base)/error.log", "-c", configuration]
    if options.isDetached {
      // The new binary is run by the path of the old.
      command[0] = "/usr/sbin/nginx"
      command = ["sh", "-c", "\"$@\" && exec sleep infinity", "sh"] + command
    }
    let process = try start(command, preloaded: preloaded, core: options.core)
    return try Server(
      name: "\(options)", host: self, process: process, port: options.port,
      uploadDirectory: uploads, processFile: options.isDetached ? "\(base)/nginx.pid" : nil
    ).whenReady()
  }
}

extension NginxOptions {
  fileprivate func configuration(base: String) -> String {
    let suffix = "\(reusePort ? " reuseport" : "") backlog=65535"
    return """
      daemon \(isDetached ? "on" : "off");
      worker_processes \(workers);
      pid \(base)/nginx.pid;
      error_log \(base)/error.log warn;
      events {
        worker_connections \(connections);
        accept_mutex \(acceptMutex ? "on" : "off");
      }
      http {
        access_log off;
        default_type application/octet-stream;
        sendfile on;
        tcp_nopush on;
        keepalive_requests 100000000;
        client_max_body_size 0;
        client_body_temp_path \(base)/body;
        proxy_temp_path \(base)/proxy;
        fastcgi_temp_path \(base)/fastcgi;
        uwsgi_temp_path \(base)/uwsgi;
        scgi_temp_path \(base)/scgi;
        server {
          listen \(port)\(suffix);
          listen [::]:\(port)\(suffix);
          root \(root ?? base);
          location = /text { return 200 "\(text)"; }
          location /upload/ {
            root \(base);
            dav_methods PUT DELETE;
            create_full_put_path on;
          }
        }
      }

      """
  }
}
