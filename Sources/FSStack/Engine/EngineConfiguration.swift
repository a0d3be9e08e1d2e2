import FSRing

/// What an engine must know before its first packet.
public struct EngineConfiguration: Sendable {
  /// Which of the engines this is, from 0.
  public var engineIndex: Int
  /// How many engines there are.
  public var engineCount: Int
  /// Random words from the daemon, the same for all engines (`Secret`).
  public var secret: (UInt64, UInt64, UInt64, UInt64)
  /// Source ports of connections that we open; kept from the kernel by ip_local_reserved_ports.
  public var activePorts: ClosedRange<UInt16> = 36864...57343
  /// Connections that the engine can hold.
  public var maximumConnections = 131_072
  /// Half-open connections that it remembers, of all endpoints; beyond them cookies must do.
  public var maximumHalfOpen = 65_536
  /// Connections in TIME-WAIT that it remembers.
  public var maximumTimeWait = 131_072
  /// Connections that may go on after their applications have closed them (Linux's tcp_max_orphans).
  public var maximumOrphans = 65_536
  /// How long such a connection waits for the peer's FIN (Linux's tcp_fin_timeout).
  public var finishTimeout = Interval.seconds(60)
  /// Up to so many open connections everything that is in use is in the processor's cache anyway, and
  /// nothing is asked for before it is needed: `Engine.announce` does nothing.
  public var fewConnections: UInt32 = 512
  /// Channels that it can serve.
  public var maximumChannels = 1024
  /// Listening endpoints that it can serve.
  public var maximumListeners = 4096
  /// Pairs of a listener and a channel that it can hold.
  public var maximumAcceptors = 65536
  /// Destinations whose path it remembers.
  public var maximumPaths = 65536
  /// Buffers of 2048 bytes for what arrives ahead of a gap, of all connections. One connection may
  /// have a quarter of them.
  public var maximumReassembly = 8192
  /// Segments in flight that it can hold, of all connections; one for each connection is added.
  public var maximumTransmitRecords = 262_144
  /// Largest size of a connection's receive buffer, bytes: the largest window it offers.
  public var receiveBuffer: UInt32 = 4 << 20
  /// Size with which it begins. As Linux with its rcvbuf of 131072.
  public var initialReceiveBuffer: UInt32 = 65536
  /// The congestion control of connections that do not choose one (TCP_CONGESTION).
  public var congestionAlgorithm = CongestionAlgorithm.cubic
  /// Explicit congestion notification; the default is Linux's (tcp_ecn = 2).
  public var ecn = ECNPolicy.accept
  /// Interfaces whose choice of queue does not follow the flow (veth): a flow's owner is computed,
  /// and what arrives elsewhere is handed over.
  public var softwareSteering = false
  /// How the network card spreads the flows that peers open, if its key and its table are known: then
  /// such a flow's owner is the engine that the card gave it to when the daemon started, also if the
  /// card's table changes. Takes the place of `softwareSteering`.
  public var receiveSideScaling: ReceiveSideScaling?
  /// How the replies to connections that we open find their engine.
  public var activeSteering = ActiveSteering()

  /// Creates a configuration with the defaults above.
  public init(
    engineIndex: Int, engineCount: Int, secret: (UInt64, UInt64, UInt64, UInt64)
  ) {
    self.engineIndex = engineIndex
    self.engineCount = engineCount
    self.secret = secret
  }
}

/// What says whose a connection is that we open, for each IP version.
public struct ActiveSteering: Equatable, Sendable {
  /// What names the engine.
  public enum Method: String, Equatable, Sendable {
    /// The lowest bits of the source port: filters of the card compare them, or engines hand over.
    case port
    /// The card's hash, `EngineConfiguration.receiveSideScaling`: a source port is chosen that the hash
    /// leads to the engine. The card must reach every engine by it; else this is as `port`.
    case hash
  }

  /// Over IPv4.
  public var ipv4: Method
  /// Over IPv6.
  public var ipv6: Method

  /// Creates a description; by the port is what needs nothing of a card.
  public init(ipv4: Method = .port, ipv6: Method = .port) {
    self.ipv4 = ipv4
    self.ipv6 = ipv6
  }
}

/// With whom explicit congestion notification is used (RFC 3168).
public enum ECNPolicy: Sendable {
  /// With nobody.
  case off
  /// With peers that ask for it.
  case accept
  /// With peers that ask for it, and with those that we connect to if they agree.
  case request
}

/// A network interface as its engine sees it.
public struct InterfaceConfiguration {
  /// Source address of the frames sent.
  public var macAddress: MACAddress
  /// Largest IP packet, bytes.
  public var mtu: Int
  /// Largest IP packet that frames hold, received and sent ones: `mtu` never becomes more.
  public let largestPacket: Int
  /// A virtual link: segments may come with the sum of the pseudo-header alone as checksum.
  public var isVirtual: Bool
  /// The frames the engine may send.
  public var transmit: TransmitQueue

  /// Creates a configuration; without `largestPacket` the MTU is what frames hold.
  public init(
    macAddress: MACAddress, mtu: Int, largestPacket: Int? = nil, isVirtual: Bool,
    transmit: TransmitQueue
  ) {
    self.macAddress = macAddress
    self.mtu = mtu
    self.largestPacket = largestPacket ?? mtu
    self.isVirtual = isVirtual
    self.transmit = transmit
  }
}

/// How to reach a destination: the answer of the kernel's routing and neighbour tables.
public struct PathConfiguration {
  /// The destination.
  public var destination: IPAddress
  /// The interface, as numbered by `Engine.addInterface`.
  public var interface: Int
  /// The source address the kernel would use.
  public var source: IPAddress
  /// The next hop's address on the link; nil while it is being resolved.
  public var nextHop: MACAddress?
  /// Largest IP packet on the path, bytes.
  public var mtu: Int
  /// VLAN identifier, or nil for untagged.
  public var vlan: UInt16?

  /// Creates a path.
  public init(
    destination: IPAddress, interface: Int, source: IPAddress, nextHop: MACAddress?, mtu: Int,
    vlan: UInt16? = nil
  ) {
    self.destination = destination
    self.interface = interface
    self.source = source
    self.nextHop = nextHop
    self.mtu = mtu
    self.vlan = vlan
  }
}
