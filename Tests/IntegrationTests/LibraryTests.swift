import Foundation
import Laboratory
import Testing

/// The library that is loaded into every process of a tree: what it gives and what it takes.
@Suite struct LibraryTests {
  private func run(_ arguments: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(arguments)")
    return String(decoding: output, as: UTF8.self)
  }

  /// The names in the `global` part of the version script.
  private func mappedSymbols() throws -> Set<String> {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let map = try String(
      contentsOf: root.appendingPathComponent("Sources/FSShim/libfsocket.map"), encoding: .utf8)
    let start = try #require(map.range(of: "global:"))
    let end = try #require(map.range(of: "local:"))
    let names = map[start.upperBound..<end.lowerBound].split { ";\n ".contains($0) }
    return Set(names.map(String.init))
  }

  @Test func exportsTheNamesOfLibcAndNothingElse() throws {
    let library = try Artifacts.located().library
    let listing = try run(["nm", "--dynamic", "--defined-only", "--format=posix", library])
    // Name and type of a symbol; a small letter is one that no other object can use.
    let symbols = listing.split(separator: "\n").map { $0.split(separator: " ") }
    let exported = symbols.filter { $0.count > 1 && $0[1].first?.isUppercase == true }
    #expect(try Set(exported.map { String($0[0]) }) == mappedSymbols())
  }

  /// An allocator of the application's may itself call what is interposed.
  @Test func allocatesNothingAndNeedsOnlyLibc() throws {
    let library = try Artifacts.located().library
    let undefined = try run(["nm", "--dynamic", "--undefined-only", "--format=posix", library])
    let names = Set(
      undefined.split(separator: "\n").compactMap { line in
        line.split(separator: " ").first?.split(separator: "@").first.map(String.init)
      })
    #expect(names.isDisjoint(with: ["malloc", "calloc", "realloc", "free", "posix_memalign"]))
    #expect(!names.contains { $0.hasPrefix("swift_") })
    let needed = try run(["readelf", "-d", library]).split(separator: "\n")
      .filter { $0.contains("(NEEDED)") }
    #expect(needed.allSatisfy { $0.contains("[libc.so.6]") }, "\(needed)")
  }
}
