import FSStack

/// How packets of listening ports are steered to the engines: on a real daemon, the XDP programs of
/// all managed interfaces.
protocol PortSteering: AnyObject {
  /// Packets to `port` of `address` (specific, or an unspecified one, which stands for all of its
  /// family) come to the engines.
  func setPort(_ address: IPAddress, _ port: UInt16, _ treatment: PortTreatment) throws
  /// They are the kernel's again.
  func removePort(_ address: IPAddress, _ port: UInt16)
  /// Whether the kernel itself has connections with such a local port.
  func kernelHasFlows(onPorts ports: ClosedRange<UInt16>) -> Bool
}

/// Which of a port's packets come to the engines.
enum PortTreatment: Equatable, Sendable {
  /// All.
  case all
  /// All but those of connections that the kernel has.
  case exceptKernelFlows
  /// Those of connections that exist; new ones, and those that the kernel has, are the kernel's.
  case draining
}

/// The two addresses that stand for all of their family.
extension IPAddress {
  static let anyIPv4 = IPAddress(v4: 0, 0, 0, 0)
  static let anyIPv6 = IPAddress.unspecified
}
