/// A set of ports, with the notation of ip_local_reserved_ports: `8080,36864-57343`.
struct PortSet: Equatable {
  private var members = [Bool](repeating: false, count: 65536)

  init() {}

  init(_ range: ClosedRange<UInt16>) {
    insert(range)
  }

  /// Reads the notation; what does not belong to it is left out.
  init(text: String) {
    for item in text.split(whereSeparator: { ", \n\t".contains($0) }) {
      let bounds = item.split(separator: "-").compactMap { UInt16($0) }
      guard let low = bounds.first, let high = bounds.last, low <= high else { continue }
      insert(low...high)
    }
  }

  private mutating func insert(_ range: ClosedRange<UInt16>) {
    for port in range { members[Int(port)] = true }
  }

  /// The members as intervals in ascending order.
  var ranges: [ClosedRange<UInt16>] {
    var result: [ClosedRange<UInt16>] = []
    for port in UInt16.min...UInt16.max where members[Int(port)] {
      if let last = result.last, last.upperBound &+ 1 == port {
        result[result.count - 1] = last.lowerBound...port
      } else {
        result.append(port...port)
      }
    }
    return result
  }

  var isEmpty: Bool { !members.contains(true) }

  /// The notation.
  var text: String {
    ranges.map { range in
      range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
    }.joined(separator: ",")
  }

  func union(_ other: PortSet) -> PortSet { combined(other) { $0 || $1 } }

  func subtracting(_ other: PortSet) -> PortSet { combined(other) { $0 && !$1 } }

  private func combined(_ other: PortSet, _ member: (Bool, Bool) -> Bool) -> PortSet {
    var result = PortSet()
    result.members = zip(members, other.members).map(member)
    return result
  }
}
