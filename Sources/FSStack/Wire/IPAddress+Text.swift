extension IPAddress: CustomStringConvertible {
  /// Creates an address from its text: dotted decimal, or the forms of RFC 4291 section 2.2 without
  /// a zone. Nil when the text is neither.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    if let value = Self.dottedDecimal(bytes[...]) {
      self.init(v4Native: value.bigEndian)
      return
    }
    guard let groups = Self.groups(bytes[...]) else { return nil }
    self.init(
      high: Self.word(groups[..<4]).bigEndian,
      low: Self.word(groups[4...]).bigEndian)
  }

  /// Dotted decimal, or the canonical form of RFC 5952.
  public var description: String {
    if isIPv4 {
      let value = UInt64(bigEndian: low)
      return "\(value >> 24 & 255).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
    }
    let groups = [high, low].flatMap { word -> [UInt64] in
      let value = UInt64(bigEndian: word)
      return [value >> 48, value >> 32 & 0xffff, value >> 16 & 0xffff, value & 0xffff]
    }
    let zeros = Self.longestZeroRun(groups)
    func joined(_ part: ArraySlice<UInt64>) -> String {
      part.map { String($0, radix: 16) }.joined(separator: ":")
    }
    guard zeros.count >= 2 else { return joined(groups[...]) }
    return joined(groups[..<zeros.lowerBound]) + "::" + joined(groups[zeros.upperBound...])
  }

  private static func longestZeroRun(_ groups: [UInt64]) -> Range<Int> {
    var longest = 0..<0
    var start = 0
    for index in 0...groups.count where index == groups.count || groups[index] != 0 {
      if index - start > longest.count { longest = start..<index }
      start = index + 1
    }
    return longest
  }

  private static func word(_ groups: ArraySlice<UInt16>) -> UInt64 {
    groups.reduce(0) { $0 << 16 | UInt64($1) }
  }

  private static func dottedDecimal(_ text: ArraySlice<UInt8>) -> UInt32? {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      // A leading zero would mean octal to some readers: refused, as by inet_pton(3).
      guard !part.isEmpty, part.count <= 3, part.count == 1 || part.first != UInt8(ascii: "0"),
        part.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") })
      else { return nil }
      let byte = part.reduce(0) { $0 * 10 + UInt32($1 - UInt8(ascii: "0")) }
      guard byte <= 255 else { return nil }
      value = value << 8 | byte
    }
    return value
  }

  /// The eight groups of an IPv6 address.
  private static func groups(_ text: ArraySlice<UInt8>) -> [UInt16]? {
    let colon = UInt8(ascii: ":")
    let gap = text.indices.dropLast().first { text[$0] == colon && text[$0 + 1] == colon }
    guard let gap else {
      guard let all = groupList(text, allowEmpty: false), all.count == 8 else { return nil }
      return all
    }
    guard let before = groupList(text[..<gap], allowEmpty: true),
      let after = groupList(text[(gap + 2)...], allowEmpty: true),
      before.count + after.count < 8, !text[..<gap].contains(UInt8(ascii: "."))
    else { return nil }
    return before + Array(repeating: 0, count: 8 - before.count - after.count) + after
  }

  /// Groups between colons; the last two may be written in dotted decimal.
  private static func groupList(_ text: ArraySlice<UInt8>, allowEmpty: Bool) -> [UInt16]? {
    if text.isEmpty { return allowEmpty ? [] : nil }
    var groups: [UInt16] = []
    let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    for (index, part) in parts.enumerated() {
      if index == parts.count - 1, let value = dottedDecimal(part) {
        groups += [UInt16(value >> 16), UInt16(truncatingIfNeeded: value)]
      } else {
        guard let value = hexadecimal(part, digits: 1...4) else { return nil }
        groups.append(UInt16(value))
      }
    }
    return groups.count <= 8 ? groups : nil
  }

  /// The value of hexadecimal digits, as many as `digits` allows.
  static func hexadecimal(_ text: ArraySlice<UInt8>, digits: ClosedRange<Int>) -> UInt32? {
    guard digits.contains(text.count) else { return nil }
    var value: UInt32 = 0
    for character in text {
      let digit: UInt8
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = character - UInt8(ascii: "A") + 10
      default: return nil
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}
