import Foundation
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
