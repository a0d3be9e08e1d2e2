import ArgumentParser

/// Processors as people write them: "0,2-3".
struct CoreList: Equatable, Sendable {
  /// In the order given, without repetitions.
  var processors: [Int]

  /// Why a text is no list of processors.
  struct Invalid: Error, Equatable, CustomStringConvertible {
    var description: String
  }

  /// Reads a list.
  static func parse(_ text: String) -> Result<CoreList, Invalid> {
    var processors: [Int] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map(number)
      guard let first = ends[0], ends.count <= 2, let last = ends[ends.count - 1] else {
        return .failure(
          Invalid(
            description: "'\(part)' is neither a processor nor a range of processors;"
              + " write a list like 0,2-3"))
      }
      guard first <= last else {
        return .failure(Invalid(description: "the range '\(part)' runs backwards"))
      }
      guard last < ProcessorSet.limit else {
        return .failure(
          Invalid(description: "processor \(last) is beyond the last one that Linux can have"))
      }
      for processor in first...last where !processors.contains(processor) {
        processors.append(processor)
      }
    }
    return .success(CoreList(processors: processors))
  }

  private static func number(_ text: Substring) -> Int? {
    guard !text.isEmpty, text.allSatisfy({ ("0"..."9").contains($0) }) else { return nil }
    return Int(text)
  }
}
