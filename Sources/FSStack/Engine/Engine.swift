import FSRing

/// One TCP/IP engine: everything that one core does with packets, and nothing that it shares.
///
/// Sans-IO: frames, commands and the time come in; frames, events and requests to the control plane
/// go out. Its owner calls, in this order and always from the same thread: `receive` for each frame
/// of a burst, `serviceChannels`, `advance`, `finishBurst`, and then takes the transmit queues and
/// `drainWakeups`.
///
/// Where a packet goes: `Engine+Receive` finds the flow, `Engine+Segment` is RFC 9293 section
/// 3.10.7, `Engine+Delivery` hands bytes to the channel, `Engine+Commands` takes what applications
/// ask, `Engine+Output` builds segments, `Engine+Events` posts what applications must know.
public struct Engine: ~Copyable {
  let configuration: EngineConfiguration
  let secret: Secret
  let ownership: FlowOwnership
  var interfaces: [InterfaceConfiguration] = []
  /// The interface over which the engine's connections reach each other; -1 for none.
  var loopback = -1
  /// Addresses of the managed interfaces.
  var localAddresses: [IPAddress] = []

  let flows: FlowTable
  /// Those of `flows`.
  let connections: Slab<ConnectionID, Connection>
  var halfOpen: HalfOpenTable
  var timeWait: TimeWaitTable
  var moved = MovedFlows()
  /// Ports on which the kernel has connections of its own, in the range of active opens.
  let kernelPorts = PortSet()
  var listeners: ListenTable
  var timers: TimerWheel
  let reassembly: ReassemblyBuffers
  let receiveRates: Slab<ReceiveRateID, ReceiveRate>
  let paths: PathTable
  var pathSizes: PathSizeTable
  let pathSearches: Slab<PathSearchID, PathSearch>
  let records: TransmitRecords
  let recoveries: Slab<LossRecoveryID, LossRecovery>
  let uncommonStates: Slab<UncommonStateID, UncommonState>

  /// Connections that their applications have closed, and that go on.
  var orphanCount = 0
  /// What `outputLinks`, `ownerLinks` and `timers` keep of each connection.
  let rows: LinkRows<ConnectionID>
  /// Connections that may have something to send at the end of the burst.
  let outputLinks: LinkTable<ConnectionID>
  var output = ListHead<ConnectionID>()
  /// Connections whose SYN waits for the next hop's address.
  let pathLinks: LinkTable<ConnectionID>
  var awaitingPath = ListHead<ConnectionID>()
  /// Links of `ChannelState.dirty` and `Endpoint.pending`; a connection with a channel is never
  /// pending.
  let ownerLinks: LinkTable<ConnectionID>

  let channels: Slab<ChannelID, ChannelState>
  var wakeUps: [ChannelID] = []
  var releasedChannels: [ChannelID] = []
  var violations: [(ChannelID, ChannelViolation)] = []
  /// A channel without free slots has one again, which connections may wait for.
  var hasNewRoom = false
  /// Channels to be closed because of a violation, at the end of the burst.
  var violators: [ChannelID] = []
  var pathRequests: [IPAddress] = []
  var routeGeneration: UInt32 = 1
  var isSleeping = false
  var sleepEpoch: UInt32 = 0

  var counters = EngineCounters()
  var announced = AnnouncedFlows()
  var drops = InlineArray<64, UInt64>(repeating: 0)
  var sourcePorts: SourcePortCursors
  var timestampOffsets: TimestampOffsets
  /// Where the card's hash leads by now, if that is not what `ownership` says.
  var arrivals: CardHash?
  private let inPlace = InPlace()

  /// Creates an engine without interfaces.
  public init(configuration: EngineConfiguration, now: Instant) {
    precondition(configuration.engineIndex < configuration.engineCount)
    precondition(DropReason.allCases.count <= 64)
    self.configuration = configuration
    secret = Secret(words: configuration.secret)
    ownership = FlowOwnership(configuration)
    sourcePorts = SourcePortCursors(secret: secret)
    timestampOffsets = TimestampOffsets(secret: secret)
    let capacity = configuration.maximumConnections
    flows = FlowTable(
      connections: capacity, halfOpen: configuration.maximumHalfOpen,
      timeWait: configuration.maximumTimeWait)
    connections = flows.connections
    halfOpen = HalfOpenTable(flows, secret: secret)
    timeWait = TimeWaitTable(flows, secret: secret)
    listeners = ListenTable(
      capacity: configuration.maximumListeners, acceptorCapacity: configuration.maximumAcceptors)
    rows = LinkRows(capacity: capacity)
    timers = TimerWheel(rows: rows, now: now)
    reassembly = ReassemblyBuffers(
      capacity: configuration.maximumReassembly, queues: capacity, secret: secret)
    receiveRates = Slab(capacity: capacity)
    paths = PathTable(capacity: configuration.maximumPaths, secret: secret)
    pathSizes = PathSizeTable(capacity: 4096, secret: secret)
    pathSearches = Slab(capacity: capacity)
    records = TransmitRecords(
      shared: configuration.maximumTransmitRecords, connections: capacity)
    recoveries = Slab(capacity: capacity)
    uncommonStates = Slab(capacity: capacity)
    outputLinks = LinkTable(column: 0, of: rows)
    pathLinks = LinkTable(capacity: capacity)
    ownerLinks = LinkTable(column: 1, of: rows)
    channels = Slab(capacity: configuration.maximumChannels)
  }

  deinit {
    ownership.deallocate()
    arrivals?.deallocate()
    for raw in 0..<channels.watermark where channels.isAllocated(ChannelID(raw: raw)) {
      channels[ChannelID(raw: raw)].deallocate()
    }
    flows.deallocate()
    halfOpen.deallocate()
    timeWait.deallocate()
    moved.deallocate()
    kernelPorts.deallocate()
    listeners.deallocate()
    timers.deallocate()
    reassembly.deallocate()
    receiveRates.deallocate()
    paths.deallocate()
    pathSizes.deallocate()
    pathSearches.deallocate()
    records.deallocate()
    recoveries.deallocate()
    uncommonStates.deallocate()
    rows.deallocate()
    pathLinks.deallocate()
    channels.deallocate()
  }

  /// Counts something thrown away.
  @inline(__always)
  mutating func drop(_ reason: DropReason) {
    drops[Int(reason.rawValue)] += 1
  }

  /// The connection of a flow.
  func find(_ flow: Flow, hash: UInt64) -> ConnectionID? {
    guard case .connection(let id) = flows.find(flow, hash: hash) else { return nil }
    return id
  }

  /// Puts a connection on the list of those that may send at the end of the burst.
  @inline(__always)
  mutating func scheduleOutput(_ id: ConnectionID) {
    if !outputLinks.contains(id) { outputLinks.append(id, to: &output) }
  }

  /// The earliest of a connection's timers.
  @inline(__always)
  func deadline(of id: ConnectionID) -> Instant {
    let (deadline, uncommon) = (connections[id].nextDeadline, connections[id].uncommon)
    return uncommon == .none ? deadline : min(deadline, uncommonStates[uncommon].nextDeadline)
  }

  /// Lets the timer wheel know of the connection's earliest deadline.
  @inline(__always)
  mutating func armTimers(_ id: ConnectionID) {
    timers.arm(id, at: deadline(of: id), movesAtOnce: hasManyConnections)
  }
}
