/// What a run may have or not have. Each run draws some of them, so that each is met alone, and
/// together with each other one: with all of them at once some would hide others.
enum SwarmFeature: String, CaseIterable, Sendable {
  // The link.
  case loss, bursts, duplication, reordering, corruption, jitter, rate
  case blackHole, oneWayBlackHole, sizeBlackHole, longOutage
  case smallerMTU, silentlySmallerMTU
  case acknowledgementLoss, acknowledgementCompression

  // Boxes on the link.
  case stripSelective, stripTimestamps, stripWindowScale, stripAll, stripOneSide
  case split, merge, rewriteSequence, rewriteSequenceNotSelective, clampSegmentSize
  case clearCongestionBits, markCongestion, filterSynchronize, forgetFlows, forgetFlowsSilently

  // Hosts.
  case ipv6, longPath, manyEngines, manyClients, wrongEngine, slowApplications
  case fewTransmitFrames, fewReceiveChunks, fewSendChunks, fewConnections, fewTimeWait
  case smallReceiveBuffer, smallMTU

  // Applications.
  case smallReads, smallWrites, smallSendBuffer, restless, stalls, exchanges, large
  case waitForPeer, closeAtOnce, resetInTheMiddle, closeUnread
  case crowd, pausedAccept, handBack, reconnect, samePort, simultaneousOpen, applicationDies
  case options, keepAlive, userTimeout, urgent, fullCommandRing

  /// Whether it may keep segments from arriving, so that a timeout is a reason for an error.
  var losesSegments: Bool {
    switch self {
    case .loss, .bursts, .corruption, .rate, .blackHole, .oneWayBlackHole, .sizeBlackHole,
      .longOutage, .smallerMTU, .silentlySmallerMTU, .acknowledgementLoss, .filterSynchronize,
      .forgetFlowsSilently, .forgetFlows, .fewReceiveChunks, .fewConnections, .crowd,
      .stripWindowScale,
      .stripAll, .stripOneSide, .stripTimestamps:
      true
    default:
      false
    }
  }

  /// Whether one side may end a connection in another way than after everything has arrived.
  var abandonsConnections: Bool {
    switch self {
    case .resetInTheMiddle, .closeUnread, .applicationDies, .userTimeout, .forgetFlows: true
    default: false
    }
  }
}

extension SwarmFeatures {
  /// Whether there may be no room for a connection before others are over: it waits, and its segments
  /// are dropped.
  var isCrowded: Bool { contains(.crowd) || contains(.fewConnections) }

  /// Whether one side may think that selective acknowledgements were agreed upon when it is told
  /// nothing that it understands.
  var misleadsSelective: Bool {
    contains(.rewriteSequenceNotSelective)
      || contains(.stripOneSide) && (contains(.stripSelective) || contains(.stripAll))
  }
}

/// The features of one run.
struct SwarmFeatures: Sendable, CustomStringConvertible {
  private let set: Set<SwarmFeature>

  init(_ random: inout SplitMix64) {
    // From runs with almost nothing to runs with much.
    let share = [0.03, 0.08, 0.15, 0.3].randomElement(using: &random) ?? 0.1
    set = Set(SwarmFeature.allCases.filter { _ in random.chance(share) })
  }

  func contains(_ feature: SwarmFeature) -> Bool { set.contains(feature) }
  func contains(any condition: (SwarmFeature) -> Bool) -> Bool { set.contains(where: condition) }

  var description: String {
    SwarmFeature.allCases.filter(set.contains).map(\.rawValue).joined(separator: " ")
  }
}
