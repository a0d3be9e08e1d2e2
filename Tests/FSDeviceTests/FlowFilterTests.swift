import CXDP
import FSStack
import Foundation
import Testing

@testable import FSDevice

/// Flow Director's rules on the model of an 82599: inserted, respected, watched, removed.
@Suite struct FlowFilterTests {
  private let path = NSTemporaryDirectory() + "fsdev-filters-\(UUID().uuidString)"

  private func filters(
    _ card: ModelledCard, engines: Int, journal: RestoreJournal? = nil
  ) throws -> FlowFilters {
    try FlowFilters(
      FlowDirectorScheme(engineCount: engines), on: "card0",
      journal: journal ?? RestoreJournal(path: path, transport: card), transport: card)
  }

  private func ethtool(_ card: ModelledCard) -> Ethtool { Ethtool("card0", by: card) }

  private func isFiltering(_ card: ModelledCard) -> Bool {
    ethtool(card).features().contains { $0.name == FlowFilters.feature && $0.isActive }
  }

  /// What ethtool inserts by `flow-type tcp4 dst-port … m … action … loc …`, as a rule.
  private func foreign(
    _ location: Int, port: UInt16 = 0x0050, mask: UInt16 = 0xffff, queue: Int = 0
  ) -> FlowDirectorRule {
    FlowDirectorRule(
      location: location, destinationPort: port, sourcePort: 0,
      mask: FlowDirectorMask(destinationPort: mask, sourcePort: 0), queue: queue)
  }

  // MARK: Inserting and removing

  /// The kernel's driver: rules for IPv4 as the scheme says, none for IPv6; at the end the card is as before.
  @Test(arguments: [2, 12, 16, 24])
  func insertedAndRemoved(_ engines: Int) throws {
    let card = ModelledCard(queues: UInt32(engines))
    let journal = RestoreJournal(path: path, transport: card)
    let filters = try filters(card, engines: engines, journal: journal)
    let wanted = try FlowDirectorScheme(engineCount: engines).rules()
    #expect(filters.ipv4 == .inserted(wanted.count) && filters.count == wanted.count)
    #expect(try ethtool(card).rules() == wanted)
    // Those for passive flows, which 24 engines need, too, fill the table.
    let reason =
      engines > 16
      ? "1280 flow rules are needed, and the card has room for 766"
      : "insert flow rule \(wanted.count) on card0: Invalid argument"
    #expect(filters.ipv6 == .refused(reason))
    // Perfect filters are switched on before the first rule.
    let log = card.takeLog()
    #expect(log.first == UInt32(ETHTOOL_SFEATURES))
    #expect(log.dropFirst() == ArraySlice(wanted.map { _ in UInt32(ETHTOOL_SRXCLSRLINS) }))
    #expect(filters.review() == FlowFilters.Review())

    #expect(journal.undo() == [])
    #expect(try ethtool(card).rules() == [] && !isFiltering(card))
    #expect(card.takeLog().last == UInt32(ETHTOOL_SFEATURES), "in the opposite order")
  }

  /// A card that takes rules for IPv6, too.
  @Test func overIPv6() throws {
    let card = ModelledCard(queues: 4)
    card.card.pointee.takes_ipv6 = 1
    var filters = try filters(card, engines: 4)
    #expect(filters.ipv4 == .inserted(4) && filters.ipv6 == .inserted(4))
    let rules = try ethtool(card).rules()
    #expect(rules.map(\.isIPv6) == [false, false, false, false, true, true, true, true])
    #expect(rules.map(\.queue) == [0, 1, 2, 3, 0, 1, 2, 3])
    #expect(Set(rules.map(\.location)).count == 8)
    // Another card takes none: these go, the others stay.
    filters.remove(isIPv6: false, because: "a reason")
    #expect(filters.ipv4 == .refused("a reason") && filters.ipv6 == .inserted(4))
    #expect(try ethtool(card).rules() == Array(rules[4...]) && filters.count == 4)
  }

  /// A daemon that was killed leaves its rules; the next one removes them, and nothing else.
  @Test func afterACrash() throws {
    let card = ModelledCard(queues: 8)
    _ = try filters(card, engines: 8)
    // Meanwhile somebody deleted one of them and put another in its place, with the same mask.
    try ethtool(card).deleteRule(at: 3)
    let other = foreign(3, port: 0x0005, mask: 0x8007, queue: 1)
    try ethtool(card).insert(other)
    let sentences = try RestoreJournal(path: path, transport: card).undoStale()
    #expect(sentences.contains("undid what an earlier daemon left: 8 flow rules"))
    #expect(sentences.count == 2, "\(sentences)")
    // The card that changes back from perfect filters loses this one, too.
    #expect(try ethtool(card).rules() == [] && !isFiltering(card))
    #expect(try RestoreJournal(path: path, transport: card).undoStale() == [])
  }

  /// Where somebody had switched the filters on before, they stay on, and his rules stay.
  @Test func filtersOfOthersStay() throws {
    let card = ModelledCard(queues: 4)
    try ethtool(card).setFeature(FlowFilters.feature, on: true)
    let other = foreign(1, port: 0x0001, mask: 0x8003, queue: 2)
    try ethtool(card).insert(other)
    let journal = RestoreJournal(path: path, transport: card)
    let filters = try filters(card, engines: 4, journal: journal)
    #expect(filters.ipv4 == .inserted(4))
    let rules = try ethtool(card).rules()
    #expect(rules.map(\.location) == [0, 1, 2, 3, 4] && rules[1] == other)
    #expect(journal.undo() == [])
    #expect(try ethtool(card).rules() == [other] && isFiltering(card))
  }

  // MARK: Refusals

  /// Rules of others that leave no way: nothing is inserted, nothing of theirs is touched, and the reason is
  /// said.
  @Test func foreignRules() throws {
    let cases: [(FlowDirectorRule, String)] = [
      (foreign(7), "somebody else's flow rule 7 compares other fields"),
      (
        foreign(9, port: 0x8002, mask: 0x8003, queue: 1),
        "somebody else's flow rule 9 claims packets of the engines"
      ),
    ]
    for (rule, reason) in cases {
      let card = ModelledCard(queues: 4)
      try ethtool(card).setFeature(FlowFilters.feature, on: true)
      try ethtool(card).insert(rule)
      _ = card.takeLog()
      let filters = try filters(card, engines: 4)
      guard case .refused(let sentence) = filters.ipv4 else {
        Issue.record("inserted beside \(rule)")
        continue
      }
      #expect(sentence.hasPrefix(reason), "\(sentence)")
      #expect(try ethtool(card).rules() == [rule])
      #expect(!card.takeLog().contains(UInt32(ETHTOOL_SRXCLSRLINS)))
      #expect(filters.count == 0 && filters.review() == FlowFilters.Review())
    }
  }

  /// A rule that somebody inserts between the list and our insertion is not overwritten.
  @Test func takenMeanwhile() throws {
    let card = ModelledCard(queues: 4)
    let other = foreign(2, port: 0x0001, mask: 0x8003, queue: 3)
    let ethtool = ethtool(card)
    var insertions = 0
    card.beforeRequest = { [unowned card] command in
      guard command == UInt32(ETHTOOL_SRXCLSRLINS) else { return }
      insertions += 1
      guard insertions == 1 else { return }
      card.beforeRequest = { _ in }
      #expect(throws: Never.self) { try ethtool.insert(other) }
    }
    let filters = try filters(card, engines: 4)
    #expect(filters.ipv4 == .refused("location 2 has just been taken"))
    // IPv6 is refused by the driver; no rule of ours is left.
    #expect(try ethtool.rules() == [other])
  }

  /// A card whose table is nearly full.
  @Test func tableFull() throws {
    let card = ModelledCard(queues: 4)
    try ethtool(card).setFeature(FlowFilters.feature, on: true)
    for location in 0..<2043 {
      try ethtool(card).insert(foreign(location, port: 0x0001, mask: 0x8003))
    }
    let filters = try filters(card, engines: 4)
    #expect(filters.ipv4 == .refused("4 flow rules are needed, and the card has room for 3"))
    #expect(try ethtool(card).rules().count == 2043)
  }

  /// Interfaces without such a table, as veth.
  @Test func noTable() throws {
    let network = try TestNetwork(queues: 2)
    try network.host {
      let filters = try FlowFilters(
        FlowDirectorScheme(engineCount: 2), on: "fsdev0", journal: RestoreJournal(path: path))
      #expect(filters.ipv4 == .refused("the card has no ntuple filters"))
      #expect(filters.ipv6 == filters.ipv4 && access(path, F_OK) != 0)
    }
  }

  // MARK: Watching

  /// A reset loses the rules: they are inserted again, except where somebody else's are.
  @Test func lostInAReset() throws {
    let card = ModelledCard(queues: 4)
    let filters = try filters(card, engines: 4)
    card.reset()
    #expect(try ethtool(card).rules() == [])
    #expect(filters.review() == FlowFilters.Review(restored: 4, missing: 0))
    #expect(filters.review() == FlowFilters.Review())
    #expect(try ethtool(card).rules() == FlowDirectorScheme(engineCount: 4).rules())
    card.reset()
    let other = foreign(1, port: 0x0001, mask: 0x8003, queue: 2)
    try ethtool(card).insert(other)
    #expect(filters.review() == FlowFilters.Review(restored: 3, missing: 1))
    #expect(ethtool(card).rule(at: 1) == other)
    // Somebody switched the filters off.
    try ethtool(card).setFeature(FlowFilters.feature, on: false)
    #expect(filters.review() == FlowFilters.Review(restored: 0, missing: 4))
  }

  // MARK: Hash, queues, rings

  @Test func hashOfTheCard() throws {
    let card = ModelledCard(queues: 24)
    let scaling = try #require(ethtool(card).receiveSideScaling(engineCount: 24))
    #expect(scaling.key == (0..<40).map { UInt8(truncatingIfNeeded: $0 * 37 + 11) })
    #expect(scaling.engines == (0..<128).map { UInt8($0 % 16) })
    #expect(ethtool(card).hashesPorts(isIPv6: true))
    card.turnTable()
    #expect(ethtool(card).receiveSideScaling(engineCount: 24) != scaling)
    // Fewer engines than queues: each serves several.
    let four = try #require(ethtool(card).receiveSideScaling(engineCount: 4))
    #expect(Set(four.engines) == [0, 1, 2, 3])
    #expect(Ethtool("nosuch", by: card).receiveSideScaling(engineCount: 4) == nil)
  }

  @Test func queuesAndRings() throws {
    let card = ModelledCard(queues: 1, maximumQueues: 63)
    let ethtool = ethtool(card)
    #expect(ethtool.channels()?.combined == 1 && ethtool.channels()?.maximumCombined == 63)
    try ethtool.setCombinedChannels(24)
    #expect(ethtool.channels()?.combined == 24 && ethtool.channels()?.other == 1)
    #expect(throws: DeviceError.self) { try ethtool.setCombinedChannels(64) }
    try ethtool.setRingSizes(receive: 4096, transmit: 1024)
    #expect(ethtool.ringSizes()?.receive == 4096 && ethtool.ringSizes()?.transmit == 1024)
    let journal = RestoreJournal(path: path, transport: card)
    try journal.record(
      .channels(interface: "card0", count: 1),
      .rings(interface: "card0", receive: 512, transmit: 512),
      .channels(interface: "gone0", count: 3))
    #expect(journal.undo() == [], "an interface that is gone needs nothing undone")
    #expect(ethtool.channels()?.combined == 1 && ethtool.ringSizes()?.receive == 512)
  }

  @Test func journalLines() throws {
    let rules = try FlowDirectorScheme(engineCount: 24).rules(isIPv6: true)
    var entries = rules.map { JournalEntry.rule(interface: "eth0", $0) }
    entries += [
      .channels(interface: "eth0", count: 3), .rings(interface: "eth0", receive: 1, transmit: 2),
      .feature(interface: "eth0", name: "rx-lro", wasOn: true),
      .feature(interface: "eth0", name: "rx-ntuple-filter", wasOn: false),
    ]
    for entry in entries { #expect(JournalEntry(line: Substring(entry.line)) == entry) }
    for line in [
      "flow-rule eth0 0 tcp4 1 2 3", "flow-rule eth0 0 udp4 1 2 3 4 5", "channels eth0 0",
      "flow-rule eth0 -1 tcp4 1 2 3 4 5", "flow-rule eth0 1 tcp4 1 2 3 65536 5", "rings eth0 1",
    ] { #expect(JournalEntry(line: Substring(line)) == nil, "\(line)") }
  }

  // MARK: The same bytes as ethtool's

  /// The ioctl of the real `ethtool -N` for the same rule has the same bytes, but for those that ethtool
  /// leaves as they were on its stack: `data`, and the number of rules.
  @Test func sameBytesAsEthtool() throws {
    let model = try compileModel()
    let network = try TestNetwork()
    let card = ModelledCard(queues: 24)
    card.card.pointee.takes_ipv6 = 1
    try ethtool(card).setFeature(FlowFilters.feature, on: true)
    for isIPv6 in [false, true] {
      // ixgbe has one mask for both ways of choosing by the ports.
      for engines in [4, 24] {
        let rules = try FlowDirectorScheme(engineCount: engines).rules(isIPv6: isIPv6)
        for rule in [rules[0], rules[rules.count / 2 + 1], rules[rules.count - 1]] {
          try card.write(to: path + ".fsdev0")
          let bytes = try recorded(rule, network, model)
          let ours = FlowRequest(inserting: rule).bytes
          #expect(bytes.count == ours.count && ours.count == 192)
          #expect(bytes.prefix(4) == ours.prefix(4))
          #expect(bytes[16..<184] == ours[16..<184], "\(rule)")
        }
      }
    }
  }

  /// What ethtool shows of the rules that we have inserted is what we meant.
  @Test func ethtoolShowsOurRules() throws {
    let model = try compileModel()
    let network = try TestNetwork()
    let card = ModelledCard(queues: 4)
    _ = try filters(card, engines: 4)
    try card.write(to: path + ".fsdev0")
    let text = try ethtoolProgram(network, model, "-n fsdev0")
    #expect(text.contains("Total 4 rules"), "\(text)")
    #expect(text.contains("Rule Type: TCP over IPv4"))
    #expect(text.contains("Dest port: 32771 mask: 0x7ffc"))
    #expect(text.contains("Action: Direct to queue 3"))
  }

  private func compileModel() throws -> String {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    let library = path + ".so"
    let directory = tests.appendingPathComponent("CardModel").path
    try run(
      "clang -O2 -Wall -shared -fPIC -DCARD_PRELOAD -I\(directory)/include -o \(library)"
        + " \(directory)/CardModel.c")
    return library
  }

  private func ethtoolProgram(
    _ network: TestNetwork, _ model: String, _ arguments: String
  ) throws -> String {
    try run(
      "ip netns exec \(network.host.name) env LD_PRELOAD=\(model) FS_CARD_INTERFACES=fsdev0"
        + " FS_CARD_STATE=\(path) FS_CARD_LOG=\(path).log ethtool \(arguments)")
  }

  /// The bytes of ethtool's request for a rule. Its `m` says what is NOT compared.
  private func recorded(
    _ rule: FlowDirectorRule, _ network: TestNetwork, _ model: String
  ) throws -> [UInt8] {
    try? FileManager.default.removeItem(atPath: path + ".log")
    var words = "-N fsdev0 flow-type \(rule.isIPv6 ? "tcp6" : "tcp4")"
    words += " dst-port \(rule.destinationPort) m \(~rule.mask.destinationPort)"
    if rule.mask.sourcePort != 0 {
      words += " src-port \(rule.sourcePort) m \(~rule.mask.sourcePort)"
    }
    words += " action \(rule.queue) loc \(rule.location)"
    _ = try ethtoolProgram(network, model, words)
    let line =
      try String(contentsOfFile: path + ".log", encoding: .utf8)
      .split(separator: "\n").first ?? ""
    return stride(from: 0, to: line.count, by: 2).compactMap { position in
      let start = line.index(line.startIndex, offsetBy: position)
      return UInt8(line[start..<line.index(start, offsetBy: 2)], radix: 16)
    }
  }
}
