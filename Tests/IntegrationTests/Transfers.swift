import Foundation
import Laboratory
import Testing

extension Network {
  /// Fetches every file from `base` with curl on `client` and compares the hashes.
  func download(
    from base: String, on client: NetworkHost, preloaded: Bool = false,
    items: [Content.Item]? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let items = items ?? content.items
    let directory = try laboratory.makeDirectory("download-\(laboratory.nextNumber())")
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var arguments = ["curl", "-gsS", "--fail", "--max-time", "30"]
    for item in items { arguments += ["-o", "\(directory)/\(item.name)", base + item.name] }
    try client.run(arguments, preloaded: preloaded, seconds: 60)
    try compare(items, in: directory, sourceLocation: sourceLocation)
  }

  /// Puts every file to `base` with curl on `client` and compares what has arrived in `uploads`.
  func upload(
    to base: String, arrivingIn uploads: String, on client: NetworkHost, preloaded: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for item in content.items { try? FileManager.default.removeItem(atPath: uploads + item.name) }
    var arguments = ["curl", "-gsS", "--fail", "--max-time", "30", "-H", "Expect:"]
    for item in content.items { arguments += ["-T", content.path(item), base + item.name] }
    try client.run(arguments, preloaded: preloaded, seconds: 60)
    try compare(content.items, in: uploads, sourceLocation: sourceLocation)
  }

  /// Compares the files of a directory with the originals.
  func compare(
    _ items: [Content.Item], in directory: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    // curl makes no file for an empty body.
    let missing = items.filter {
      !FileManager.default.fileExists(atPath: "\(directory)/\($0.name)")
    }
    #expect(missing.allSatisfy { $0.size == 0 }, sourceLocation: sourceLocation)
    let present = items.filter { item in !missing.contains { $0.name == item.name } }
    let hashes = try laboratory.hashes(of: present.map { "\(directory)/\($0.name)" })
    for (item, hash) in zip(present, hashes) {
      #expect(hash == item.hash, "\(item.size) bytes", sourceLocation: sourceLocation)
    }
  }

  /// The server's two addresses on the front, in turn.
  func forEachFamily(_ body: (AddressFamily) throws -> Void) rethrows {
    for family in AddressFamily.allCases { try body(family) }
  }

  /// 1,000 connections at the same time, each asking for 1 KB, which is compared.
  func fetchByThousand(
    from server: Server, _ family: AddressFamily, path: String = "/1024.bin",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let item = content.items[2]
    let expected = try [UInt8](Data(contentsOf: URL(fileURLWithPath: content.path(item))))
    let daemon = self.server.daemon
    let correct = try peer.fetchConcurrently(
      count: 1_000, address: front.address(family), port: server.port, path: path,
      expected: expected
    ) {
      guard let daemon else { return }
      let established = try daemon.statistics().sum {
        $0.lowercased().contains("connections.established")
      }
      #expect(established >= 1_000, "connections of the engines while 1,000 are open")
    }
    #expect(correct == 1_000, sourceLocation: sourceLocation)
  }
}

/// What wrk has reported.
struct WrkReport {
  let requests: Int
  let isClean: Bool
  let text: String

  init(_ text: String) {
    self.text = text
    isClean = !text.contains("Socket errors") && !text.contains("Non-2xx")
    let line = text.split(separator: "\n").first { $0.contains(" requests in ") }
    requests = line?.split(separator: " ").first.flatMap { Int($0) } ?? 0
  }
}
