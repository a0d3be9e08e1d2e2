/// The named numbers of a structure of counters, under the names that the statistics use.
enum Fields {
  /// Every field of `value` that holds an unsigned 64-bit number, in order.
  static func of(_ value: some Any) -> [(name: String, value: UInt64)] {
    Mirror(reflecting: value).children.compactMap { child in
      guard let label = child.label, let number = child.value as? UInt64 else { return nil }
      return (snakeCase(label), number)
    }
  }

  /// "payloadDelivered" becomes "payload_delivered".
  static func snakeCase(_ name: String) -> String {
    var result = ""
    var previousIsLower = false
    for character in name {
      if character.isUppercase, previousIsLower { result.append("_") }
      result += character.lowercased()
      previousIsLower = character.isLowercase || character.isNumber
    }
    return result
  }
}
