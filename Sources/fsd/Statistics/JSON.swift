/// A JSON value. The statistics hold whole numbers, names and lists; objects keep their order.
enum JSON: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Int64)
  case string(String)
  case array([JSON])
  case object([Member])

  /// One member of an object.
  struct Member: Equatable, Sendable {
    var name: String
    var value: JSON

    init(_ name: String, _ value: JSON) {
      self.name = name
      self.value = value
    }
  }

  /// A counter. One beyond the signed range, which no counter reaches, is shown as the largest.
  static func count(_ value: UInt64) -> JSON { .number(Int64(clamping: value)) }
  /// A number.
  static func count(_ value: Int) -> JSON { .number(Int64(value)) }

  /// An object of counters.
  static func counters(_ entries: [(name: String, value: UInt64)]) -> JSON {
    .object(entries.map { Member($0.name, .count($0.value)) })
  }

  /// The member of that name.
  subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  /// The elements of an array; none for anything else.
  var elements: [JSON] {
    if case .array(let elements) = self { elements } else { [] }
  }

  /// The members of an object; none for anything else.
  var members: [Member] {
    if case .object(let members) = self { members } else { [] }
  }

  /// A number's value; zero for anything else.
  var integer: Int64 {
    if case .number(let value) = self { value } else { 0 }
  }

  /// A string's text; empty for anything else.
  var text: String {
    if case .string(let text) = self { text } else { "" }
  }

  /// Applies `combine` to the numbers that stand in the same place in both values. Whatever only
  /// one of them has is kept.
  func merged(with other: JSON, _ combine: (Int64, Int64) -> Int64) -> JSON {
    switch (self, other) {
    case (.number(let mine), .number(let theirs)):
      return .number(combine(mine, theirs))
    case (.object(let mine), .object(let theirs)):
      var result = mine
      for member in theirs {
        if let position = result.firstIndex(where: { $0.name == member.name }) {
          result[position].value = result[position].value.merged(with: member.value, combine)
        } else {
          result.append(member)
        }
      }
      return .object(result)
    default:
      return self
    }
  }
}

extension JSON {
  /// The text of the value, on lines of its own where that helps reading.
  func render(indented: Bool = false) -> String {
    var text = ""
    write(to: &text, indentation: indented ? 0 : nil)
    return text
  }

  private func write(to text: inout String, indentation: Int?) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .number(let value): text += String(value)
    case .string(let value): Self.write(value, to: &text)
    case .array(let elements):
      Self.writeList("[", "]", elements.count, indentation, to: &text) { index, text, inner in
        elements[index].write(to: &text, indentation: inner)
      }
    case .object(let members):
      Self.writeList("{", "}", members.count, indentation, to: &text) { index, text, inner in
        Self.write(members[index].name, to: &text)
        text += inner == nil ? ":" : ": "
        members[index].value.write(to: &text, indentation: inner)
      }
    }
  }

  private static func writeList(
    _ open: String, _ close: String, _ count: Int, _ indentation: Int?, to text: inout String,
    _ element: (Int, inout String, Int?) -> Void
  ) {
    text += open
    let inner = indentation.map { $0 + 1 }
    for index in 0..<count {
      if index > 0 { text += "," }
      if let inner { text += "\n" + String(repeating: "  ", count: inner) }
      element(index, &text, inner)
    }
    if let indentation, count > 0 { text += "\n" + String(repeating: "  ", count: indentation) }
    text += close
  }

  private static func write(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case let control where control.value < 0x20:
        let digits = String(control.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
