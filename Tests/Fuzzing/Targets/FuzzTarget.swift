/// What is fuzzed. Each target takes any bytes; a trap, a sanitizer's report or a failed check is a
/// finding.
enum FuzzTarget: String, CaseIterable {
  /// Frames, as they come from the network: the parser of a segment and that of an ICMP error.
  case frame
  /// The options of a TCP header, against a reader that follows the definition step by step.
  case options
  /// A whole engine: segments, socket commands, ICMP errors and the passing of time.
  case engine
  /// The command ring of an application that does not keep the rules, beside one that does.
  case commands

  /// Runs the target on one input.
  func run(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .frame: FrameTarget.run(bytes)
    case .options: OptionsTarget.run(bytes)
    case .engine: EngineTarget.run(bytes)
    case .commands: CommandTarget.run(bytes)
    }
  }
}

/// Takes an input apart, from front to back; past its end everything is zero.
struct FuzzInput {
  private var rest: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

  var isEmpty: Bool { rest.isEmpty }

  mutating func byte() -> UInt8 {
    guard let first = rest.first else { return 0 }
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
    return first
  }

  mutating func word() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }

  mutating func number() -> UInt32 { UInt32(word()) << 16 | UInt32(word()) }

  mutating func bytes(_ count: Int) -> [UInt8] {
    let taken = Array(rest.prefix(count))
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    return taken
  }

  /// All that is left.
  mutating func remainder() -> [UInt8] { bytes(rest.count) }
}

/// A check that fails with its message in release builds too.
func check(
  _ condition: Bool, _ message: @autoclosure () -> String = "", line: Int = #line,
  file: StaticString = #fileID
) {
  if !condition { fatalError("\(file):\(line): \(message())") }
}
