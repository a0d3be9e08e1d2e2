import Foundation
import Laboratory
import Testing

/// Compiles a program of Tests/Programs with the toolchain's C compiler; returns its path.
func compile(_ name: String, into directory: String) throws -> String {
  let tests = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent()
  let program = "\(directory)/\(name)"
  let compiler = Process()
  compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  compiler.arguments = [
    "clang", "-O2", "-Wall", "-pthread", "-o", program,
    tests.appendingPathComponent("Programs/\(name).c").path,
  ]
  try compiler.run()
  compiler.waitUntilExit()
  try #require(compiler.terminationStatus == 0, "clang \(name).c")
  return program
}

/// Runs a model: a program of Tests/Programs that compares what calls answer with the kernel, on the same
/// interface and with the same peer. The engines have to accept `connections`, which is what it makes, or,
/// where chance decides, the least.
func runModel(
  _ name: String, _ family: AddressFamily = .ipv4, _ options: [String] = [], connections: Int
) throws {
  let network = try Network.running()
  let directory = ([name, "\(family)"] + options).joined(separator: "-")
  let model = try compile(name, into: try network.laboratory.makeDirectory(directory))
  try network.expectNoLeak {
    let before = try network.server.daemon?.statistics().sum("passive_opens") ?? 0
    _ = try network.server.run(
      [model, "--address", network.front.address(family), "--netns", network.peer.name] + options,
      preloaded: Network.hasDaemon, seconds: 120)
    if let daemon = network.server.daemon {
      #expect(try daemon.statistics().sum("passive_opens") - before >= connections)
    }
  }
}
