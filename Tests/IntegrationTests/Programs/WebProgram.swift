import Testing
import Foundation
import Laboratory

/// A server program that gives out the files of a directory by HTTP, started as its users do.
enum WebProgram: String, CaseIterable, CustomTestStringConvertible {
  case apacheEvent, apachePrefork, varnish, node, asyncio, httpServer, threadingServer,
    forkingServer

  var testDescription: String { rawValue }

  /// Those that `make test` runs.
  static var quick: [WebProgram] { [.apacheEvent, .threadingServer, .forkingServer] }

  /// Listening sockets that it has.
  var sockets: Int { self == .asyncio || self == .varnish ? 2 : 1 }

  /// Whether it listens for IPv6, too.
  var isDualStack: Bool {
    switch self {
    case .apacheEvent, .apachePrefork, .varnish, .node, .asyncio: true
    case .httpServer, .threadingServer, .forkingServer: false
    }
  }

  /// Whether a connection is passed on to another process, and so to the kernel.
  var isHandedOver: Bool { self == .forkingServer }

  /// Connections at a time that it bears: those that serve one after the other keep few waiting.
  var concurrency: Int { self == .httpServer ? 4 : 40 }

  /// Starts it on port 80 of `network.server`.
  func start(in network: Network, preloaded: Bool) throws -> Server {
    let directory = try network.laboratory.makeDirectory(
      "\(rawValue)-\(network.laboratory.nextNumber())")
    let root = network.content.directory
    let command: [String]
    switch self {
    case .apacheEvent, .apachePrefork:
      let module = self == .apacheEvent ? "event" : "prefork"
      try write(
        apacheConfiguration(module, directory: directory, root: root),
        to: "\(directory)/apache2.conf")
      command = ["apache2", "-f", "\(directory)/apache2.conf", "-DFOREGROUND"]
    case .varnish:
      try write(
        varnishConfiguration(backend: network.backendEnd.address4), to: "\(directory)/default.vcl")
      command = [
        "varnishd", "-F", "-a", ":80", "-f", "\(directory)/default.vcl", "-n",
        "\(directory)/work", "-s", "malloc,200m",
      ]
    case .node:
      try write(nodeProgram(root: root), to: "\(directory)/server.js")
      command = ["node", "\(directory)/server.js"]
    case .asyncio:
      try write(asyncioProgram(root: root), to: "\(directory)/server.py")
      command = ["python3", "\(directory)/server.py"]
    case .httpServer:
      command = ["python3", "-m", "http.server", "-d", root, "80"]
    case .threadingServer, .forkingServer:
      let mixIn = self == .threadingServer ? "ThreadingMixIn" : "ForkingMixIn"
      try write(socketServerProgram(mixIn, root: root), to: "\(directory)/server.py")
      command = ["python3", "\(directory)/server.py"]
    }
    let server = try network.server.startServer(
      rawValue, command, port: 80, preloaded: preloaded)
    // varnishd listens before the process that accepts is there.
    if self == .varnish {
      waitUntil(seconds: 10, every: 0.1) {
        (try? network.peer.run(["curl", "-sSf", server.url(network.front, .ipv4, "1.bin")])) != nil
      }
    }
    return server
  }
}

private func write(_ text: String, to path: String) throws {
  try text.write(toFile: path, atomically: true, encoding: .utf8)
}

private func apacheConfiguration(_ module: String, directory: String, root: String) -> String {
  """
  ServerRoot /etc/apache2
  ServerName laboratory
  PidFile \(directory)/apache2.pid
  ErrorLog \(directory)/error.log
  DefaultRuntimeDir \(directory)
  Listen 80
  LoadModule mpm_\(module)_module /usr/lib/apache2/modules/mod_mpm_\(module).so
  LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
  StartServers 3
  DocumentRoot \(root)
  <Directory \(root)>
    Require all granted
  </Directory>
  User www-data
  Group www-data

  """
}

private func varnishConfiguration(backend: String) -> String {
  """
  vcl 4.1;
  backend default { .host = "\(backend)"; .port = "80"; }

  """
}

private func nodeProgram(root: String) -> String {
  """
  const fs = require('fs'), http = require('http');
  http.createServer((request, response) => {
    const stream = fs.createReadStream('\(root)' + request.url);
    stream.on('error', () => { response.statusCode = 404; response.end(); });
    stream.pipe(response);
  }).listen(80);

  """
}

private func asyncioProgram(root: String) -> String {
  """
  import asyncio
  async def serve(reader, writer):
      path = (await reader.readline()).split()[1].decode()
      while (await reader.readline()).strip():
          pass
      with open("\(root)" + path, "rb") as file:
          body = file.read()
      writer.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
      await writer.drain()
      writer.close()
  async def main():
      server = await asyncio.start_server(serve, None, 80)
      await server.serve_forever()
  asyncio.run(main())

  """
}

private func socketServerProgram(_ mixIn: String, root: String) -> String {
  """
  import functools, http.server, socketserver
  class Server(socketserver.\(mixIn), http.server.HTTPServer):
      request_queue_size = 128
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="\(root)")
  Server(("0.0.0.0", 80), handler).serve_forever()

  """
}
