/// The ports that the kernel must not choose for connections of its own
/// (net.ipv4.ip_local_reserved_ports, of the calling thread's network namespace, IPv6 included).
public enum ReservedPorts {
  private static let path = "/proc/sys/net/ipv4/ip_local_reserved_ports"

  /// Adds a range. Entries of others stay; the journal takes back what was added.
  public static func reserve(
    _ range: ClosedRange<UInt16>, journal: RestoreJournal
  ) throws(DeviceError) {
    let present = PortSet(text: try TextFile.read(path))
    let missing = PortSet(range).subtracting(present)
    guard !missing.isEmpty else { return }
    try journal.record(.reservedPorts(missing))
    try TextFile.write(present.union(missing).text + "\n", to: path)
  }

  /// The reserved ports.
  public static func current() throws(DeviceError) -> [ClosedRange<UInt16>] {
    PortSet(text: try TextFile.read(path)).ranges
  }

  /// Takes ports out again.
  static func release(_ ports: PortSet) throws(DeviceError) {
    let present = PortSet(text: try TextFile.read(path))
    try TextFile.write(present.subtracting(ports).text + "\n", to: path)
  }
}
