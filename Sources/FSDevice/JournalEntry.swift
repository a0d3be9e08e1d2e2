import FSStack
import Glibc

/// A change on the system, as a line of the `RestoreJournal`.
enum JournalEntry: Equatable {
  /// These ports were added to ip_local_reserved_ports; they were not in it.
  case reservedPorts(PortSet)
  /// The feature was switched; `wasOn` says what it was before.
  case feature(interface: String, name: String, wasOn: Bool)
  /// The number of combined queues was this one.
  case channels(interface: String, count: Int)
  /// The rings had so many descriptors.
  case rings(interface: String, receive: Int, transmit: Int)
  /// The rule was inserted.
  case rule(interface: String, FlowDirectorRule)
  /// The file of /proc or /sys held this.
  case file(path: String, text: String)

  /// What the line says.
  var line: String {
    switch self {
    case .reservedPorts(let ports): "reserved-ports \(ports.text)"
    case .feature(let interface, let name, let wasOn):
      "\(wasOn ? "feature-off" : "feature-on") \(interface) \(name)"
    case .channels(let interface, let count): "channels \(interface) \(count)"
    case .rings(let interface, let receive, let transmit):
      "rings \(interface) \(receive) \(transmit)"
    case .rule(let interface, let rule):
      "flow-rule \(interface) \(rule.location) \(rule.isIPv6 ? "tcp6" : "tcp4") "
        + [
          rule.destinationPort, rule.mask.destinationPort, rule.sourcePort, rule.mask.sourcePort,
        ].map(String.init).joined(separator: " ") + " \(rule.queue)"
    case .file(let path, let text): "file \(path) \(text)"
    }
  }

  /// Whether it is one of perhaps many rules.
  var isRule: Bool {
    if case .rule = self { true } else { false }
  }

  /// Reads a line; nil if it is none of these. `root` is as for `RestoreJournal`.
  init?(line: Substring, root: String = "") {
    let words = line.split(separator: " ").map(String.init)
    let numbers = words.map { Int($0) }
    switch (words.first, words.count) {
    case ("reserved-ports", 2): self = .reservedPorts(PortSet(text: words[1]))
    case ("feature-off", 3): self = .feature(interface: words[1], name: words[2], wasOn: true)
    case ("feature-on", 3): self = .feature(interface: words[1], name: words[2], wasOn: false)
    case ("channels", 3):
      guard let count = numbers[2], count > 0 else { return nil }
      self = .channels(interface: words[1], count: count)
    case ("rings", 4):
      guard let receive = numbers[2], let transmit = numbers[3], receive > 0, transmit > 0 else {
        return nil
      }
      self = .rings(interface: words[1], receive: receive, transmit: transmit)
    case ("flow-rule", 9):
      guard let rule = Self.rule(words) else { return nil }
      self = .rule(interface: words[1], rule)
    case ("file", 3):
      guard Self.mayRestore(words[1], root) else { return nil }
      self = .file(path: words[1], text: words[2])
    default: return nil
    }
  }

  private static func rule(_ words: [String]) -> FlowDirectorRule? {
    let ports = words[4..<8].compactMap { UInt16($0) }
    guard ports.count == 4, let location = UInt32(words[2]), let queue = UInt32(words[8]),
      ["tcp4", "tcp6"].contains(words[3])
    else { return nil }
    return FlowDirectorRule(
      location: Int(location), destinationPort: ports[0], sourcePort: ports[2],
      mask: FlowDirectorMask(destinationPort: ports[1], sourcePort: ports[3]), queue: Int(queue),
      isIPv6: words[3] == "tcp6")
  }

  /// Only what this project changes: whoever can write the journal shall not write everywhere.
  private static func mayRestore(_ path: String, _ root: String) -> Bool {
    guard !path.contains("..") else { return false }
    let ofInterface = ["/xps_cpus", "/gro_flush_timeout", "/napi_defer_hard_irqs"]
    return path.hasSuffix("/smp_affinity_list") && path.hasPrefix("\(root)/proc/irq/")
      || path.hasPrefix("\(root)/sys/class/net/") && ofInterface.contains(where: path.hasSuffix)
  }

  /// Changes it back. With an interface what was changed on it is gone, too.
  func undo(by transport: any EthtoolTransport) throws(DeviceError) {
    switch self {
    case .reservedPorts(let ports):
      try ReservedPorts.release(ports)
    case .feature(let interface, let name, let wasOn):
      try Self.present(interface, transport)?.setFeature(name, on: wasOn)
    case .channels(let interface, let count):
      try Self.present(interface, transport)?.setCombinedChannels(count)
    case .rings(let interface, let receive, let transmit):
      try Self.present(interface, transport)?.setRingSizes(receive: receive, transmit: transmit)
    case .rule(let interface, let rule):
      // What somebody else has put in its place stays.
      let ethtool = Ethtool(interface, by: transport)
      if ethtool.rule(at: rule.location) == rule { try ethtool.deleteRule(at: rule.location) }
    case .file(let path, let text):
      if unsafe access(path, F_OK) == 0 { try TextFile.write(text + "\n", to: path) }
    }
  }

  /// An interface, if it is still there.
  private static func present(_ interface: String, _ transport: any EthtoolTransport) -> Ethtool? {
    let ethtool = Ethtool(interface, by: transport)
    return ethtool.isPresent ? ethtool : nil
  }
}
