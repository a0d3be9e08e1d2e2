/// What the XDP program of an interface has decided, summed over the cores.
public struct XDPCounters: Equatable, Sendable {
  /// TCP segments given to an AF_XDP socket.
  public var redirectedTCP: UInt64 = 0
  /// ICMP errors about owned flows given to an AF_XDP socket.
  public var redirectedICMP: UInt64 = 0
  /// Passed: neither IPv4 nor IPv6.
  public var passedNotIP: UInt64 = 0
  /// Passed: a header is truncated or inconsistent.
  public var passedMalformed: UInt64 = 0
  /// Passed: a fragment.
  public var passedFragment: UInt64 = 0
  /// Passed: IPv6 with extension headers.
  public var passedExtensionHeader: UInt64 = 0
  /// Passed: not TCP, and no ICMP error about TCP.
  public var passedOtherProtocol: UInt64 = 0
  /// Passed: for an address that is not managed.
  public var passedOtherAddress: UInt64 = 0
  /// Passed: for a port that is not owned.
  public var passedOtherPort: UInt64 = 0
  /// Passed: the kernel has a socket for the flow.
  public var passedKernelFlow: UInt64 = 0
  /// Passed: a new connection to a port whose listener is gone.
  public var passedDraining: UInt64 = 0
  /// Passed: the queue has no AF_XDP socket.
  public var passedNoSocket: UInt64 = 0

  /// The counters in the order of `enum counter` in bpf/fastsocket.bpf.c, under their names.
  private static var table: [(name: String, field: WritableKeyPath<XDPCounters, UInt64>)] {
    [
      ("redirectedTCP", \.redirectedTCP),
      ("redirectedICMP", \.redirectedICMP),
      ("passedNotIP", \.passedNotIP),
      ("passedMalformed", \.passedMalformed),
      ("passedFragment", \.passedFragment),
      ("passedExtensionHeader", \.passedExtensionHeader),
      ("passedOtherProtocol", \.passedOtherProtocol),
      ("passedOtherAddress", \.passedOtherAddress),
      ("passedOtherPort", \.passedOtherPort),
      ("passedKernelFlow", \.passedKernelFlow),
      ("passedDraining", \.passedDraining),
      ("passedNoSocket", \.passedNoSocket),
    ]
  }

  /// All zero.
  public init() {}

  /// Every counter with its name.
  public var entries: [(name: String, value: UInt64)] {
    XDPCounters.table.map { ($0.name, self[keyPath: $0.field]) }
  }

  /// Creates the counters from the values of the map, one for each index.
  init(reading value: (UInt32) -> UInt64) {
    for (index, entry) in XDPCounters.table.enumerated() {
      self[keyPath: entry.field] = value(UInt32(index))
    }
  }
}
