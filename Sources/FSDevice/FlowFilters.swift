import FSStack
import Glibc

/// The perfect filters on one card that bring every engine the packets of its flows: inserted, watched,
/// and, through the journal, removed. Rules of others are respected: with them, or where the card
/// does not take ours, there are no rules, and a sentence that says why.
public struct FlowFilters: Sendable {
  /// The name of the feature that the card's table of rules comes with (`ethtool -K … ntuple`).
  static let feature = "rx-ntuple-filter"

  /// Of the rules of one IP version.
  public enum Outcome: Equatable, Sendable {
    /// So many rules are in the card.
    case inserted(Int)
    /// None is, because of this.
    case refused(String)
  }

  /// What a look at the card has found.
  public struct Review: Equatable, Sendable {
    /// Rules that were missing, and have been inserted again.
    public var restored = 0
    /// Rules that are missing.
    public var missing = 0
  }

  /// The interface's name.
  public let interface: String
  /// Over IPv4.
  public private(set) var ipv4: Outcome
  /// Over IPv6. The kernel's driver for the 82599 takes none.
  public private(set) var ipv6: Outcome
  private let transport: any EthtoolTransport
  private var rules: [FlowDirectorRule] = []

  /// Inserts the rules of a scheme, as far as the card takes them.
  ///
  /// The interface's queues and rings are what they shall be, and it has no XDP program yet: a card that
  /// changes to perfect filters is reset.
  public init(
    _ scheme: FlowDirectorScheme, on interface: String, journal: RestoreJournal,
    transport: any EthtoolTransport = KernelEthtool()
  ) throws(DeviceError) {
    self.interface = interface
    self.transport = transport
    ipv4 = .refused("one engine needs no rules")
    ipv6 = ipv4
    guard scheme.engineCount > 1 else { return }
    let ethtool = Ethtool(interface, by: transport)
    do throws(Refusal) {
      try Self.enable(ethtool, journal)
      let table = try Self.table(ethtool)
      ipv4 = insert(scheme, table, isIPv6: false, ethtool, journal)
      ipv6 = insert(scheme, table, isIPv6: true, ethtool, journal)
    } catch {
      ipv4 = .refused(error.sentence)
      ipv6 = ipv4
    }
  }

  /// Why there are no rules.
  private struct Refusal: Error {
    var sentence: String
  }

  private static func enable(
    _ ethtool: Ethtool, _ journal: RestoreJournal
  ) throws(Refusal) {
    guard let state = ethtool.features().first(where: { $0.name == feature }),
      state.isActive || state.isChangeable
    else { throw Refusal(sentence: "the card has no ntuple filters") }
    guard !state.isActive else { return }
    do throws(DeviceError) {
      try journal.record(
        .feature(interface: ethtool.interface, name: feature, wasOn: false))
      try ethtool.setFeature(feature, on: true)
    } catch {
      throw Refusal(sentence: "\(error)")
    }
  }

  private static func table(
    _ ethtool: Ethtool
  ) throws(Refusal) -> (foreign: [FlowDirectorRule], capacity: Int) {
    do throws(DeviceError) {
      let foreign = try ethtool.rules()
      let capacity = ethtool.ruleCount()?.capacity ?? 0
      return (foreign, capacity > 0 ? capacity : FlowDirectorScheme.defaultCapacity)
    } catch {
      throw Refusal(sentence: "\(error)")
    }
  }

  /// Inserts the rules of one IP version: all, or none.
  private mutating func insert(
    _ scheme: FlowDirectorScheme, _ table: (foreign: [FlowDirectorRule], capacity: Int),
    isIPv6: Bool, _ ethtool: Ethtool, _ journal: RestoreJournal
  ) -> Outcome {
    var inserted: [FlowDirectorRule] = []
    var recorded = 0
    do {
      let wanted = try scheme.rules(
        capacity: table.capacity, beside: table.foreign + rules, isIPv6: isIPv6)
      try journal.record(wanted.map { .rule(interface: interface, $0) })
      recorded = wanted.count
      for rule in wanted {
        // Somebody may have put one there since the list was read.
        guard ethtool.rule(at: rule.location) == nil else {
          throw DeviceError.unsupported("location \(rule.location) has just been taken")
        }
        try ethtool.insert(rule)
        inserted.append(rule)
      }
      rules += inserted
      return .inserted(inserted.count)
    } catch {
      for rule in inserted.reversed() { try? ethtool.deleteRule(at: rule.location) }
      journal.withdraw(recorded)
      if let obstacle = error as? FlowDirectorObstacle { return .refused(obstacle.sentence) }
      return .refused("\(error)")
    }
  }

  /// Removes the rules of one IP version again, because something else is to steer.
  public mutating func remove(isIPv6: Bool, because reason: String) {
    let ethtool = Ethtool(interface, by: transport)
    for rule in rules.reversed() where rule.isIPv6 == isIPv6 {
      if ethtool.rule(at: rule.location) == rule { try? ethtool.deleteRule(at: rule.location) }
    }
    rules.removeAll { $0.isIPv6 == isIPv6 }
    if isIPv6 { ipv6 = .refused(reason) } else { ipv4 = .refused(reason) }
  }

  /// Looks whether all rules are still there, and inserts those again that are not: a reset may lose
  /// them. Where somebody else has a rule now, that stays.
  public func review() -> Review {
    let ethtool = Ethtool(interface, by: transport)
    var review = Review()
    for rule in rules {
      let present = ethtool.rule(at: rule.location)
      if present == rule { continue }
      do throws(DeviceError) {
        guard present == nil else { throw .unsupported("somebody else's rule is there") }
        try ethtool.insert(rule)
        review.restored += 1
      } catch {
        review.missing += 1
      }
    }
    return review
  }

  /// Rules of ours.
  public var count: Int { rules.count }
}

extension FlowDirectorObstacle {
  /// For people.
  public var sentence: String {
    switch self {
    case .otherMask(let location):
      "somebody else's flow rule \(location) compares other fields, and the card compares the same "
        + "ones for all rules"
    case .overlap(let location):
      "somebody else's flow rule \(location) claims packets of the engines"
    case .tableFull(let needed, let free):
      "\(needed) flow rules are needed, and the card has room for \(free)"
    }
  }
}
