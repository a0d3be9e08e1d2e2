import Foundation

extension NetworkHost {
  /// Starts lighttpd on IPv4 and IPv6. It serves `root` at / and takes PUT at /upload/. `core` pins it.
  public func startLighttpd(
    root: String, port: Int = 80, core: Int? = nil, preloaded: Bool
  ) throws -> Server {
    let number = laboratory.nextNumber()
    let base = try laboratory.makeDirectory("lighttpd-\(number)")
    let uploads = try laboratory.makeDirectory("lighttpd-\(number)/upload")
    try laboratory.makeDirectory("lighttpd-\(number)/temporary")
    let text = """
      server.modules = ("mod_alias", "mod_webdav")
      server.document-root = "\(root)"
      server.upload-dirs = ("\(base)/temporary")
      server.port = \(port)
      server.bind = "0.0.0.0"
      server.max-fds = 4096
      server.max-connections = 2048
      server.max-keep-alive-requests = 1000000
      server.errorlog = "\(base)/error.log"
      $SERVER["socket"] == "[::]:\(port)" { server.set-v6only = "enable" }
      alias.url = ("/upload/" => "\(uploads)/")
      $HTTP["url"] =~ "^/upload/" { webdav.activate = "enable" }

      """
    let configuration = try laboratory.makeFile("lighttpd-\(number)/lighttpd.conf", text)
    let process = try start(
      ["lighttpd", "-D", "-f", configuration], preloaded: preloaded, core: core)
    return try Server(
      name: "lighttpd", host: self, process: process, port: port, uploadDirectory: uploads
    ).whenReady()
  }
}
