extension Engine {
  /// What the owner has to do with a frame after `receive`.
  public enum Verdict: Equatable, Sendable {
    /// Nothing: the frame may be reused.
    case done
    /// Give a copy to another engine, which owns the flow.
    case handOver(engine: Int)
  }

  /// Processes a frame that arrived on an interface.
  public mutating func receive(
    _ frame: UnsafeRawBufferPointer, interface: Int, now: Instant
  ) -> Verdict {
    prefetchAnnounced()
    counters.framesReceived += 1
    counters.bytesReceived += UInt64(frame.count)
    return unsafe process(frame, interface: interface, now: now, mayHandOver: true)
  }

  /// Processes a frame that another engine received and that belongs here.
  public mutating func receiveHandedOver(
    _ frame: UnsafeRawBufferPointer, interface: Int, now: Instant
  ) {
    counters.takenOver += 1
    _ = unsafe process(frame, interface: interface, now: now, mayHandOver: false)
  }

  @inline(__always)
  mutating func process(
    _ frame: UnsafeRawBufferPointer, interface: Int, now: Instant, mayHandOver: Bool
  ) -> Verdict {
    guard interface < interfaces.count else {
      drop(.destinationNotLocal)
      return .done
    }
    var segment = Segment()
    let result =
      interface == loopback
      ? unsafe segment.parseOwn(frame)
      : unsafe segment.parse(frame, acceptPartialChecksum: interfaces[interface].isVirtual)
    switch result {
    case .drop(let reason):
      drop(reason)
      return .done
    case .icmpError:
      return unsafe receiveError(frame, now: now, mayHandOver: mayHandOver)
    case .segment:
      break
    }
    if segment.checksumWasPartial { counters.partialChecksums += 1 }
    if segment.options.malformed { drop(.tcpOptionMalformed) }
    let flow = Flow(segment)
    let hash = secret.hash(flow)
    let payload = unsafe UnsafeRawBufferPointer(
      rebasing: frame[segment.payloadOffset..<segment.payloadOffset + segment.payloadLength])
    let record = flows.find(flow, hash: hash)
    if case .connection(let id) = record {
      // Nobody outside may speak for this host itself.
      guard (interface == loopback) == (connections[id].interface == loopback) else {
        drop(.sourceAddressInvalid)
        return .done
      }
      unsafe segmentArrives(id, &segment, payload, now: now)
      return .done
    }
    return unsafe missed(
      &segment, payload, flow, record, hash: hash, interface: interface, now: now,
      mayHandOver: mayHandOver)
  }

  /// A segment of a flow that has no connection; `record` is what there is of it instead.
  @inline(never)
  private mutating func missed(
    _ segment: inout Segment, _ payload: UnsafeRawBufferPointer, _ flow: Flow,
    _ record: FlowRecord?, hash: UInt64, interface: Int, now: Instant, mayHandOver: Bool
  ) -> Verdict {
    // Broadcast and multicast addresses are nobody's (MUST-57).
    if interface != loopback {
      guard localAddresses.contains(segment.destination) else {
        drop(.destinationNotLocal)
        return .done
      }
      // LAND, with another of our addresses as source (MUST-63).
      guard !localAddresses.contains(segment.source) else {
        drop(.sourceAddressInvalid)
        return .done
      }
    }
    if !moved.isEmpty, moved.contains(flow, hash: hash) {
      drop(.movedToKernel)
      return .done
    }
    var initial: SequenceNumber?
    switch record {
    case .halfOpen(let id):
      unsafe halfOpenSegmentArrives(id, &segment, payload, hash: hash, now: now)
      return .done
    case .timeWait(let id):
      initial = timeWaitSegmentArrives(id, &segment, interface: interface, now: now)
      if initial == nil { return .done }
    case .connection, nil:
      guard mayHandOver, configuration.engineCount > 1 else { break }
      let owner = self.owner(of: flow, hash: hash)
      if owner != configuration.engineIndex {
        counters.handedOver += 1
        return .handOver(engine: owner)
      }
    }
    unsafe listenSegmentArrives(
      &segment, payload, flow, hash: hash, interface: interface, initial: initial, now: now)
    return .done
  }

  /// The engine that owns a flow without entry in any table.
  ///
  /// A port of the active range names its engine (Fastsocket's Receive Flow Deliver). All other flows
  /// belong where the hardware puts them as long as nobody changes it, or, if that says nothing, where
  /// a hash does (`FlowOwnership`).
  func owner(of flow: Flow, hash: UInt64) -> Int {
    if configuration.activePorts.contains(flow.localPort),
      listeners.find(flow.local, port: flow.localPort) == nil
    {
      return ownership.activeOwner(of: flow)
    }
    return ownership.passiveOwner(of: flow, hash: hash) ?? configuration.engineIndex
  }

  /// The engine named by the low bits of an active port: as many bits as the engines need, spread
  /// over them by a table, so that no residue is unused when the count is no power of two.
  public static func engine(ofActivePort port: UInt16, engineCount: Int) -> Int {
    (Int(port) & (portResidueCount(engineCount: engineCount) - 1)) % engineCount
  }

  /// Values of the bits of an active port that name its engine.
  @inline(__always)
  static func portResidueCount(engineCount: Int) -> Int {
    engineCount < 2 ? 1 : 1 << (Int.bitWidth - (engineCount - 1).leadingZeroBitCount)
  }
}
