@testable import FSStack

/// The links, boxes and hosts of a run, drawn from its seed.
extension SwarmRun {
  /// What differs between the hosts of runs.
  static func hostOptions(
    _ features: SwarmFeatures, _ random: inout SplitMix64
  ) -> SimulatedHost.Options {
    var options = SimulatedHost.Options()
    if features.contains(.smallReceiveBuffer) {
      options.receiveBuffer = UInt32.random(in: 2048...20_000, using: &random)
    } else {
      options.receiveBuffer = UInt32.random(in: 20_000...500_000, using: &random)
    }
    if features.contains(.smallMTU) {
      let smallest = features.contains(.ipv6) ? 1280 : 576
      options.mtu = Int.random(in: smallest...1500, using: &random)
    }
    options.maximumHalfOpen = 64
    if features.contains(.fewConnections) { options.maximumConnections = 3 }
    if features.contains(.fewTimeWait) { options.maximumTimeWait = 2 }
    if features.contains(.fewTransmitFrames) {
      options.transmitFrames = Int.random(in: 3...20, using: &random)
    }
    return options
  }

  /// Sets the links and the boxes on them, as long as the trouble lasts.
  func makeTrouble() {
    for index in simulation.links.indices {
      simulation.links[index].conditions = conditions(isBack: index % 2 == 1)
    }
    for pair in simulation.middleboxes.indices { simulation.middleboxes[pair] = boxes() }
    if features.contains(.smallerMTU) || features.contains(.silentlySmallerMTU) { changeMTU() }
  }

  private func conditions(isBack: Bool) -> LinkConditions {
    var conditions = LinkConditions()
    conditions.latency = .microseconds(
      UInt64.random(in: 5...(features.contains(.longPath) ? 100_000 : 5000), using: &random))
    conditions.mtu = mtu
    if features.contains(.jitter) {
      conditions.jitter = .microseconds(UInt64.random(in: 1...10_000, using: &random))
    }
    if features.contains(.loss) { conditions.loss = Double.random(in: 0...0.15, using: &random) }
    if features.contains(.bursts) {
      conditions.bursts = LinkConditions.BurstLoss(
        toBad: Double.random(in: 0.005...0.05, using: &random),
        toGood: Double.random(in: 0.05...0.5, using: &random),
        loss: Double.random(in: 0.5...1, using: &random))
    }
    if features.contains(.duplication) {
      conditions.duplication = Double.random(in: 0...0.1, using: &random)
    }
    if features.contains(.reordering) {
      conditions.reordering = Double.random(in: 0...0.3, using: &random)
    }
    if features.contains(.corruption) {
      conditions.corruption = Double.random(in: 0...0.05, using: &random)
    }
    if features.contains(.rate) {
      conditions.rate = UInt64.random(in: 50_000...20_000_000, using: &random)
      conditions.queueLimit = UInt64.random(in: 3000...100_000, using: &random)
    }
    if features.contains(.acknowledgementLoss) {
      conditions.acknowledgementLoss = Double.random(in: 0.1...0.7, using: &random)
    }
    if features.contains(.acknowledgementCompression) {
      conditions.acknowledgementCompression = .milliseconds(
        UInt64.random(in: 1...20, using: &random))
    }
    if features.contains(.blackHole) || features.contains(.oneWayBlackHole) && isBack {
      conditions.blackHoles.append(hole(minimumSize: 0))
    }
    if features.contains(.sizeBlackHole) {
      conditions.blackHoles.append(hole(minimumSize: Int.random(in: 300...1400, using: &random)))
    }
    return conditions
  }

  private func hole(minimumSize: Int) -> LinkConditions.BlackHole {
    let start = simulation.now + .milliseconds(UInt64.random(in: 0...500, using: &random))
    let longest: UInt64 = features.contains(.longOutage) ? 300_000 : 4000
    return LinkConditions.BlackHole(
      start: start, end: start + .milliseconds(UInt64.random(in: 50...longest, using: &random)),
      minimumSize: minimumSize)
  }

  private func boxes() -> [any Middlebox] {
    var boxes: [any Middlebox] = []
    func stripper(_ kinds: Set<UInt8>?, _ random: inout SplitMix64) -> OptionStripper {
      let side = features.contains(.stripOneSide) ? Int.random(in: 0...1, using: &random) : nil
      return OptionStripper(kinds: kinds, isOnlySYN: random.chance(0.7), side: side)
    }
    if features.contains(.stripSelective) {
      boxes.append(stripper([TCPOptionKind.sackPermitted, TCPOptionKind.sack], &random))
    }
    if features.contains(.stripTimestamps) {
      boxes.append(stripper([TCPOptionKind.timestamp], &random))
    }
    if features.contains(.stripWindowScale) {
      boxes.append(stripper([TCPOptionKind.windowScale], &random))
    }
    if features.contains(.stripAll) { boxes.append(stripper(nil, &random)) }
    if features.contains(.clampSegmentSize) {
      boxes.append(SegmentSizeClamp(limit: UInt16.random(in: 88...1400, using: &random)))
    }
    if features.contains(.clearCongestionBits) {
      boxes.append(CongestionMarker(share: nil, seed: random.next()))
    }
    if features.contains(.markCongestion) {
      boxes.append(CongestionMarker(share: random.chance(0.3) ? 1 : 0.1, seed: random.next()))
    }
    if features.contains(.filterSynchronize) {
      let kinds = [
        TCPOptionKind.timestamp, TCPOptionKind.windowScale, TCPOptionKind.sackPermitted,
      ]
      boxes.append(SynchronizeFilter(kind: kinds.randomElement(using: &random) ?? 8))
    }
    if features.contains(.split) { boxes.append(SegmentSplitter(seed: random.next())) }
    if features.contains(.merge) { boxes.append(SegmentMerger(mtu: mtu)) }
    if features.contains(.rewriteSequence) || features.contains(.rewriteSequenceNotSelective) {
      boxes.append(
        SequenceRewriter(
          seed: random.next(), rewritesSelective: features.contains(.rewriteSequence)))
    }
    if features.contains(.forgetFlows) || features.contains(.forgetFlowsSilently) {
      let firewall = ForgetfulFirewall(isSilent: !features.contains(.forgetFlows))
      boxes.append(firewall)
      simulation.after(.milliseconds(UInt64.random(in: 1...2000, using: &random))) {
        firewall.forget()
      }
    }
    return boxes
  }

  /// The path gets narrower, and perhaps wider again.
  private func changeMTU() {
    let smallest = features.contains(.ipv6) ? 1280 : 576
    let narrow = Int.random(in: smallest...max(smallest, mtu - 1), using: &random)
    let reports = features.contains(.smallerMTU)
    let wide = mtu
    func set(_ mtu: Int) {
      guard !isHealed else { return }
      for index in simulation.links.indices {
        simulation.links[index].conditions.mtu = mtu
        simulation.links[index].conditions.reportsTooBig = reports
      }
    }
    simulation.after(.milliseconds(UInt64.random(in: 0...300, using: &random))) { set(narrow) }
    if random.chance(0.5) {
      simulation.after(.milliseconds(UInt64.random(in: 300...3000, using: &random))) { set(wide) }
    }
  }

  /// The links are good from now on. Boxes that connections could not live without stay.
  func heal() {
    isHealed = true
    for index in simulation.links.indices {
      simulation.links[index].conditions = .perfect
    }
    for pair in simulation.middleboxes.indices {
      simulation.middleboxes[pair].removeAll { !($0 is SequenceRewriter) }
    }
  }
}
