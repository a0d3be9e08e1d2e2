import Foundation
import Testing

/// The corpora of the fuzzers, run once: what was found before is not found again.
@Suite struct FuzzRegressionTests {
  @Test(arguments: FuzzTarget.allCases)
  func corpus(_ target: FuzzTarget) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Fuzzing/Corpus/\(target.rawValue)")
    let inputs = try FileManager.default.contentsOfDirectory(
      at: folder, includingPropertiesForKeys: nil)
    #expect(!inputs.isEmpty)
    for input in inputs {
      try Data(contentsOf: input).withUnsafeBytes { target.run($0) }
    }
  }

  /// Inputs that nobody has looked at, from a seed: the corpora with bytes changed.
  @Test(arguments: FuzzTarget.allCases)
  func mutations(_ target: FuzzTarget) throws {
    var random = SplitMix64(seed: 9)
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Fuzzing/Corpus/\(target.rawValue)")
    let inputs = try FileManager.default.contentsOfDirectory(
      at: folder, includingPropertiesForKeys: nil
    ).sorted { $0.path < $1.path }.map { try Data(contentsOf: $0) }
    for _ in 0..<300 {
      var bytes = Array(try #require(inputs.randomElement(using: &random)))
      for _ in 0..<Int.random(in: 1...8, using: &random) where !bytes.isEmpty {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      if random.chance(0.3) { bytes += random.bytes(Int.random(in: 1...40, using: &random)) }
      bytes.withUnsafeBytes { target.run($0) }
    }
  }
}
