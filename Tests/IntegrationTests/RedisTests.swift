import Foundation
import Laboratory
import Testing

/// Stores every file with redis-cli on `client` and reads it back.
private func exchange(
  _ network: Network, with server: Server, at address: String, on client: NetworkHost,
  preloaded: Bool
) throws {
  let directory = try network.laboratory.makeDirectory("redis-out")
  for item in network.content.items {
    let connection = ["redis-cli", "-h", address, "-p", "\(server.port)"]
    let answer = try client.run(
      connection + ["-x", "SET", item.name], preloaded: preloaded,
      inputPath: network.content.path(item))
    #expect(answer == "OK\n")
    let reader = try client.start(connection + ["GET", item.name], preloaded: preloaded)
    let status = reader.wait(seconds: 60)
    #expect(status == .exited(0), "\(reader.errorOutput)")
    // redis-cli ends its answer with a line feed.
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: reader.outputPath))
    #expect(try handle.seekToEnd() == UInt64(item.size + 1))
    try handle.truncate(atOffset: UInt64(item.size))
    try handle.close()
    #expect(try network.laboratory.hashes(of: [reader.outputPath]) == [item.hash])
    network.laboratory.discard(reader)
  }
  try FileManager.default.removeItem(atPath: directory)
}

extension Integration {
  /// redis-server and redis-cli, one of the two preloaded.
  @Suite(.network()) struct Redis {
    @Test func preloadedServer() throws {
      let network = try Network.running()
      let bytes = network.content.items.reduce(0) { $0 + $1.size }
      try network.whileServing({ try $0.startRedis(preloaded: true) }) { server in
        try network.forEachFamily { family in
          try network.expectAcceleration(ofBytes: 2 * bytes) {
            try exchange(
              network, with: server, at: network.front.address(family), on: network.peer,
              preloaded: false)
          }
        }
        // 1,000 connections at once.
        let report = try network.peer.run([
          "redis-benchmark", "-h", network.front.address4, "-c", "1000", "-n", "20000", "-t",
          "set,get", "--csv",
        ])
        #expect(report.contains("\"SET\"") && report.contains("\"GET\""), "\(report)")
        #expect(!report.contains("Error"), "\(report)")
      }
    }

    @Test func preloadedClient() throws {
      let network = try Network.running()
      let bytes = network.content.items.reduce(0) { $0 + $1.size }
      try network.expectNoLeak {
        let server = try network.peer.startRedis(preloaded: false)
        defer { server.stop() }
        try network.forEachFamily { family in
          try network.expectAcceleration(ofBytes: 2 * bytes) {
            try exchange(
              network, with: server, at: network.peerEnd.address(family), on: network.server,
              preloaded: true)
          }
        }
      }
    }
  }
}
