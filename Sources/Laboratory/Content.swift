import Foundation

/// Files of known content, and their SHA-256 hashes.
public struct Content: Sendable {
  /// One file.
  public struct Item: Sendable {
    /// Its name within `directory`.
    public let name: String
    /// Its length in bytes.
    public let size: Int
    /// Its SHA-256, in hexadecimal.
    public let hash: String
  }

  /// Where the files are.
  public let directory: String
  /// The files, in the order of the sizes asked for.
  public let items: [Item]

  /// The sizes that every server and client has to carry.
  public static let standardSizes = [0, 1, 1_024, 102_400, 104_857_600]

  /// Path of one of the files.
  public func path(_ item: Item) -> String { "\(directory)/\(item.name)" }
}

extension Laboratory {
  /// Writes files of `sizes` bytes each, with random but reproducible content.
  public func makeContent(sizes: [Int] = Content.standardSizes) throws -> Content {
    let directory = try makeDirectory("content-\(nextNumber())")
    var generator = SplitMix(state: 0x5eed)
    let names = try sizes.map { size in
      let name = "\(size).bin"
      try generator.bytes(size).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
      return name
    }
    let hashes = try hashes(of: names.map { "\(directory)/\($0)" })
    let items = zip(names, zip(sizes, hashes)).map {
      Content.Item(name: $0, size: $1.0, hash: $1.1)
    }
    return Content(directory: directory, items: items)
  }

  /// The SHA-256 of each file, in hexadecimal.
  public func hashes(of paths: [String]) throws -> [String] {
    let lines = try run(["sha256sum", "--"] + paths).split(separator: "\n")
    return lines.compactMap { $0.split(separator: " ").first.map(String.init) }
  }
}

/// The SplitMix64 generator: short, and the same on every machine.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }

  mutating func bytes(_ count: Int) -> Data {
    var words = [UInt64](repeating: 0, count: (count + 7) / 8)
    for index in words.indices { words[index] = next() }
    return unsafe words.withUnsafeBytes { unsafe Data($0.prefix(count)) }
  }
}
