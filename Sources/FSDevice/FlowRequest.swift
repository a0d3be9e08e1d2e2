import CXDP
import FSStack

/// `struct ethtool_rxnfc`: the request for everything about receive flows, as bytes.
///
/// 192 bytes on a 64-bit machine: cmd, flow_type, data (64 bits), `struct ethtool_rx_flow_spec` (168 bytes),
/// rule_cnt, then locations. In the specification: flow_type, h_u (52 bytes), h_ext (20), m_u (52),
/// m_ext (20), 4 bytes of padding, ring_cookie (64 bits), location. A set bit of a mask is compared.
struct FlowRequest {
  /// Offsets in the request.
  private enum Field {
    static let flowType = 4
    static let data = 8
    static let specification = 16
    static let ruleCount = 184
    static let locations = 188
  }

  /// Offsets in the specification.
  private enum Specification {
    static let values = 4
    static let masks = 76
    static let queue = 152
    static let location = 160
    static let size = 168
    /// `h_u`, and behind it `h_ext`.
    static let unionSize = 52
    static let extensionSize = 20
  }

  var bytes: [UInt8]

  /// An empty request, with room for locations behind it.
  init(_ command: UInt32, locations: Int = 0) {
    let size = MemoryLayout<ethtool_rxnfc>.size
    bytes = [UInt8](repeating: 0, count: max(size, Field.locations + locations * 4))
    put(command, at: 0)
  }

  /// Inserts a rule (ETHTOOL_SRXCLSRLINS).
  init(inserting rule: FlowDirectorRule) {
    self.init(UInt32(ETHTOOL_SRXCLSRLINS))
    put(UInt32(rule.isIPv6 ? TCP_V6_FLOW : TCP_V4_FLOW), at: Field.specification)
    let ports = Self.ports(isIPv6: rule.isIPv6)
    let values = Field.specification + Specification.values + ports
    let masks = Field.specification + Specification.masks + ports
    put(rule.sourcePort.bigEndian, at: values)
    put(rule.destinationPort.bigEndian, at: values + 2)
    put(rule.mask.sourcePort.bigEndian, at: masks)
    put(rule.mask.destinationPort.bigEndian, at: masks + 2)
    put(UInt64(rule.queue), at: Field.specification + Specification.queue)
    put(UInt32(rule.location), at: Field.specification + Specification.location)
  }

  /// Asks for a rule (ETHTOOL_GRXCLSRULE), or deletes it (ETHTOOL_SRXCLSRLDEL).
  init(_ command: UInt32, location: Int) {
    self.init(command)
    put(UInt32(location), at: Field.specification + Specification.location)
  }

  /// Where the ports stand in `struct ethtool_tcpip4_spec` and `ethtool_tcpip6_spec`: source, destination.
  private static func ports(isIPv6: Bool) -> Int { isIPv6 ? 32 : 8 }

  var flowType: UInt32 {
    get { load(Field.flowType) }
    set { put(newValue, at: Field.flowType) }
  }

  var data: UInt64 {
    get { load(Field.data) }
    set { put(newValue, at: Field.data) }
  }

  var ruleCount: Int {
    get { Int(load(Field.ruleCount) as UInt32) }
    set { put(UInt32(newValue), at: Field.ruleCount) }
  }

  /// The locations that ETHTOOL_GRXCLSRLALL has written.
  var locations: [Int] {
    let room = (bytes.count - Field.locations) / 4
    return (0..<min(ruleCount, room)).map { Int(load(Field.locations + $0 * 4) as UInt32) }
  }

  /// The specification's bytes: what one rule is, and another is not.
  var specification: ArraySlice<UInt8> {
    bytes[Field.specification..<Field.specification + Specification.size]
  }

  /// The rule that ETHTOOL_GRXCLSRULE has written. Whatever it compares besides the ports of TCP is
  /// `comparesMore`.
  var rule: FlowDirectorRule {
    let base = Field.specification
    let type = load(base) as UInt32
    let isIPv6 = type == UInt32(TCP_V6_FLOW)
    let isTCP = isIPv6 || type == UInt32(TCP_V4_FLOW)
    let ports = Self.ports(isIPv6: isIPv6)
    let values = base + Specification.values + ports
    let masks = base + Specification.masks
    var mask = FlowDirectorMask(
      destinationPort: UInt16(bigEndian: load(masks + ports + 2)),
      sourcePort: UInt16(bigEndian: load(masks + ports)))
    let compared = masks..<masks + Specification.unionSize + Specification.extensionSize
    let others = compared.filter { !(masks + ports..<masks + ports + 4).contains($0) }
    mask.comparesMore = !isTCP || others.contains { bytes[$0] != 0 }
    return FlowDirectorRule(
      location: Int(load(base + Specification.location) as UInt32),
      destinationPort: UInt16(bigEndian: load(values + 2)),
      sourcePort: UInt16(bigEndian: load(values)), mask: mask,
      queue: Int(truncatingIfNeeded: load(base + Specification.queue) as UInt64), isIPv6: isIPv6)
  }

  private mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
    let new = value.nativeBytes
    bytes.replaceSubrange(offset..<offset + new.count, with: new)
  }

  private func load<Number: FixedWidthInteger>(_ offset: Int) -> Number {
    ByteView(bytes: bytes[...]).load(offset, as: Number.self)
  }
}

extension Ethtool {
  /// Rules in the card's table, and how many it holds; nil if the card takes no rules.
  func ruleCount() -> (used: Int, capacity: Int)? {
    var request = FlowRequest(UInt32(ETHTOOL_GRXCLSRLCNT))
    guard send(&request.bytes) else { return nil }
    // Bit 31 says that the driver chooses locations if asked to.
    return (request.ruleCount, Int(request.data & 0x7fff_ffff))
  }

  /// The rules in the card's table.
  func rules() throws(DeviceError) -> [FlowDirectorRule] {
    guard let count = ruleCount() else { throw .last("count the flow rules of", interface) }
    guard count.used > 0 else { return [] }
    // Room for those that somebody adds meanwhile.
    let room = count.used + 64
    var request = FlowRequest(UInt32(ETHTOOL_GRXCLSRLALL), locations: room)
    request.ruleCount = room
    guard send(&request.bytes) else { throw .last("list the flow rules of", interface) }
    return request.locations.compactMap { rule(at: $0) }
  }

  /// The rule at a location; nil if there is none.
  func rule(at location: Int) -> FlowDirectorRule? {
    var request = FlowRequest(UInt32(ETHTOOL_GRXCLSRULE), location: location)
    return send(&request.bytes) ? request.rule : nil
  }

  /// Inserts a rule, in place of one that may be at its location.
  func insert(_ rule: FlowDirectorRule) throws(DeviceError) {
    var request = FlowRequest(inserting: rule)
    guard send(&request.bytes) else {
      throw .last("insert flow rule \(rule.location) on", interface)
    }
  }

  /// Deletes the rule at a location.
  func deleteRule(at location: Int) throws(DeviceError) {
    var request = FlowRequest(UInt32(ETHTOOL_SRXCLSRLDEL), location: location)
    guard send(&request.bytes) else { throw .last("delete flow rule \(location) of", interface) }
  }
}
