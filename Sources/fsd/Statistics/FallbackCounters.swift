import FSDevice
import Glibc

/// What of a process with the library fell back to the kernel: the counters that the library keeps in
/// a section of its own, read from the process's memory.
struct FallbackCounters: Equatable {
  /// One reason, and how often it was one.
  struct Entry: Equatable {
    var reason: String
    var count: UInt64
  }

  /// The section, and the bytes of an entry in it: `struct fs_fallback` of CShimFallbacks.h.
  static let section = ".fsocket.fallbacks"
  private static let reasonSize = 120
  private static let entrySize = reasonSize + 8

  /// In the library's order, also those that never were.
  var entries: [Entry]

  /// Reads those of a process.
  init(process: Int32) throws {
    let directory = "/proc/\(process)"
    guard let maps = try? TextFile.read("\(directory)/maps"), !maps.isEmpty else {
      throw Failure("process \(process) cannot be read: it is gone, or another user's")
    }
    guard let mapping = Self.library(inMaps: maps) else {
      throw Failure("process \(process) has no libfsocket.so")
    }
    // The file may be gone from the file system, or be in another mount namespace.
    let library = try BinaryFile("\(directory)/map_files/\(mapping.range)")
    guard let place = ELFSections(library).section(Self.section) else {
      throw Failure("the libfsocket.so of process \(process) keeps no such counters")
    }
    let memory = try BinaryFile("\(directory)/mem")
    guard
      let bytes = memory.read(at: mapping.start &+ place.address, count: min(place.size, 1 << 16))
    else { throw Failure("the memory of process \(process) cannot be read") }
    entries = Self.entries(in: bytes)
  }

  /// The entries that stand in the section's bytes.
  static func entries(in bytes: [UInt8]) -> [Entry] {
    stride(from: 0, through: bytes.count - entrySize, by: entrySize).map { start in
      let reason = bytes[start..<start + reasonSize].prefix { $0 != 0 }
      let count = bytes[(start + reasonSize)..<(start + entrySize)].reversed()
        .reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return Entry(reason: String(decoding: reason, as: UTF8.self), count: count)
    }
  }

  /// Where the library begins: the first mapping of its file, whose offset is 0. `range` is the
  /// mapping's name in map_files.
  static func library(inMaps maps: String) -> (start: UInt64, range: String)? {
    for line in maps.split(separator: "\n") {
      let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
      guard fields.count == 6, UInt64(fields[2], radix: 16) == 0,
        fields[5].split(separator: "/").last?.contains("fsocket") == true,
        let start = fields[0].split(separator: "-").first.flatMap({ UInt64($0, radix: 16) })
      else { continue }
      return (start, String(fields[0]))
    }
    return nil
  }

  /// The sum of those whose reason begins so.
  func count(ofReasonBeginning text: String) -> UInt64 {
    entries.reduce(0) { $0 + ($1.reason.hasPrefix(text) ? $1.count : 0) }
  }

  /// As `fsd stats --json` shows them.
  var json: JSON {
    .array(
      entries.map { entry in
        .object([.init("reason", .string(entry.reason)), .init("count", .count(entry.count))])
      })
  }

  /// For people: what happened at all, the most frequent first.
  func render() -> String {
    let happened = entries.filter { $0.count > 0 }.sorted { $0.count > $1.count }
    guard !happened.isEmpty else { return "Nothing fell back to the kernel." }
    var table = Table()
    for entry in happened {
      table.add([entry.reason, Table.grouped(Int64(clamping: entry.count))])
    }
    return table.render().joined(separator: "\n")
  }
}
