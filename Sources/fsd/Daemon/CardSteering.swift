import FSDevice
import FSStack

/// How packets find the engine of their flow, on all managed interfaces: what is asked of the cards at the
/// start, what engines are told, and what is noticed later.
///
/// Flows keep their owners as long as the daemon lives (`FlowOwnership`), so whatever happens to a card
/// costs hand-overs and nothing else.
final class CardSteering {
  /// One interface.
  struct Card {
    var interface: NetworkInterface
    /// The rules of Flow Director, or why there are none.
    var filters: FlowFilters
    /// Its hash as it was at the start; nil: it cannot be computed here.
    var scaling: ReceiveSideScaling?
    /// Whether the hash is other now.
    var isChanged = false
    /// What reviews have found: rules inserted again, and rules missing now.
    var restored = 0
    var missing = 0
  }

  private(set) var cards: [Card] = []
  private let engineCount: Int
  /// What the cards' hash says, if all say the same.
  let scaling: ReceiveSideScaling?
  /// How the replies to active connections find their engines.
  let active: ActiveSteering
  /// Whether passive flows are spread by the engines' own hash, because some interface's choice of queue
  /// follows nothing.
  let isSoftware: Bool

  /// Programs the cards. Their queues and rings are as they shall be, and there is no XDP program yet.
  init(
    _ interfaces: [NetworkInterface], engineCount: Int, journal: RestoreJournal
  ) throws(DeviceError) {
    self.engineCount = engineCount
    for interface in interfaces {
      let scaling = interface.receiveSideScaling(engineCount: engineCount)
      let scheme = FlowDirectorScheme(
        engineCount: engineCount,
        hashedQueues: scaling?.hashedQueues ?? FlowDirectorScheme.hashedQueues)
      let filters = try FlowFilters(scheme, on: interface.name, journal: journal)
      // Switching to perfect filters resets a card.
      let now = interface.receiveSideScaling(engineCount: engineCount)
      cards.append(Card(interface: interface, filters: filters, scaling: now))
    }
    isSoftware = engineCount > 1 && interfaces.contains { !$0.followsFlowHash }
    let first = cards.first?.scaling
    scaling = engineCount > 1 && cards.allSatisfy { $0.scaling == first } ? first : nil
    let reachesAll = scaling?.reachesAll(engineCount: engineCount) ?? false
    active = ActiveSteering(
      ipv4: Self.method(cards.map(\.filters.ipv4), hash: reachesAll),
      ipv6: Self.method(
        cards.map(\.filters.ipv6),
        hash: reachesAll && interfaces.allSatisfy { $0.hashesPortsOverIPv6() }))
    // Rules by the port would lead astray what the hash has chosen.
    let reason = "not all cards take rules, and all know the hash"
    for position in cards.indices {
      if active.ipv4 == .hash, case .inserted = cards[position].filters.ipv4 {
        cards[position].filters.remove(isIPv6: false, because: reason)
      }
      if active.ipv6 == .hash, case .inserted = cards[position].filters.ipv6 {
        cards[position].filters.remove(isIPv6: true, because: reason)
      }
    }
  }

  /// By the port if all cards have rules for it, else by the hash if there is one.
  private static func method(
    _ outcomes: [FlowFilters.Outcome], hash: Bool
  ) -> ActiveSteering.Method {
    let hasRules = outcomes.allSatisfy { if case .inserted = $0 { true } else { false } }
    return hash && !hasRules ? .hash : .port
  }

  /// Whether there is anything that can change behind the daemon's back.
  var needsReview: Bool {
    cards.contains { $0.filters.count > 0 } || scaling != nil
  }

  /// Looks at the cards again: rules that are missing are inserted again, and engines are told when the hash
  /// leads elsewhere.
  func review(_ engines: [EngineThread]) {
    for position in cards.indices {
      let name = cards[position].interface.name
      let found = cards[position].filters.review()
      if found.restored > 0 {
        cards[position].restored += found.restored
        Log.note("\(name): \(found.restored) flow rules were missing and are there again")
      }
      if found.missing != cards[position].missing {
        cards[position].missing = found.missing
        Log.note("\(name): \(found.missing) flow rules are missing; engines hand over instead")
      }
    }
    reviewHash(engines)
  }

  private func reviewHash(_ engines: [EngineThread]) {
    guard let scaling else { return }
    var changed: ReceiveSideScaling?
    for position in cards.indices {
      let now = cards[position].interface.receiveSideScaling(engineCount: engineCount)
      // A card that is being reset may not answer.
      let isChanged = now != nil && now != scaling
      if isChanged { changed = now }
      guard isChanged != cards[position].isChanged else { continue }
      cards[position].isChanged = isChanged
      let name = cards[position].interface.name
      Log.note(
        isChanged
          ? "\(name): its hash key or indirection table is another; engines hand over what it leads elsewhere"
          : "\(name): its hash key and indirection table are as they were")
    }
    if changed != arrivals {
      arrivals = changed
      for engine in engines { engine.setArrivals(changed) }
    }
  }

  /// What engines have been told last.
  private var arrivals: ReceiveSideScaling?
}

extension CardSteering {
  /// For `fsd status`: of one interface.
  func report(_ position: Int) -> JSON {
    let card = cards[position]
    return .object([
      JSON.Member("passive", .string(passive(card))),
      JSON.Member("active_ipv4", .string(Self.method(card.filters.ipv4, active.ipv4))),
      JSON.Member("active_ipv6", .string(Self.method(card.filters.ipv6, active.ipv6))),
      JSON.Member("flow_rules", .count(card.filters.count)),
      JSON.Member("flow_rules_missing", .count(card.missing)),
      JSON.Member("flow_rules_restored", .count(card.restored)),
      JSON.Member("hash_changed", .bool(card.isChanged)),
      JSON.Member("no_rules_ipv4", Self.refusal(card.filters.ipv4)),
      JSON.Member("no_rules_ipv6", Self.refusal(card.filters.ipv6)),
    ])
  }

  private func passive(_ card: Card) -> String {
    if engineCount == 1 { return "single" }
    if scaling != nil { return "hash" }
    return isSoftware ? "software" : "arrival"
  }

  private static func method(
    _ outcome: FlowFilters.Outcome, _ method: ActiveSteering.Method
  ) -> String {
    if case .inserted = outcome { return "flow_director" }
    return method == .hash ? "hash" : "software"
  }

  private static func refusal(_ outcome: FlowFilters.Outcome) -> JSON {
    if case .refused(let sentence) = outcome { return .string(sentence) }
    return .null
  }
}
