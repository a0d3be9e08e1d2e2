import Foundation
import Laboratory
import Testing

/// What an impaired link does in a test, with a name for the report.
private struct Weather: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var conditions: ImpairmentConditions

  /// `FS_INTEROPERATION_WEATHER` names the only one to be tested.
  static var chosen: [Weather] {
    let name = ProcessInfo.processInfo.environment["FS_INTEROPERATION_WEATHER"]
    return all.filter { name == nil || $0.testDescription == name }
  }

  private static let all = [
    Weather(testDescription: "delay", conditions: ImpairmentConditions(delay: 1_000)),
    Weather(testDescription: "loss", conditions: ImpairmentConditions(loss: 0.002)),
    Weather(
      testDescription: "loss and delay", conditions: ImpairmentConditions(loss: 0.001, delay: 500)),
    Weather(
      testDescription: "reordering", conditions: ImpairmentConditions(reordering: 0.01, delay: 500)),
    Weather(
      testDescription: "duplication", conditions: ImpairmentConditions(duplication: 0.01)),
    Weather(
      testDescription: "everything",
      conditions: ImpairmentConditions(
        loss: 0.001, duplication: 0.005, reordering: 0.005, delay: 500)),
  ]
}

/// What tshark notes about connections in which nothing is wrong: how they end, and that a receiver
/// was slower than its sender.
private let ordinary = [
  "This frame initiates the connection closing", "This frame undergoes the connection closing",
  "TCP window specified by the receiver is now completely full", "TCP Zero Window segment",
]

/// Bytes of the large file: `FS_INTEROPERATION_BYTES` (`make interoperation`: 1 GB), else what a run
/// of all tests has time for.
private let largeSize =
  ProcessInfo.processInfo.environment["FS_INTEROPERATION_BYTES"].flatMap { Int($0) } ?? 20_000_000

extension Integration {
  /// The engine and the Linux kernel over a bad link, in both directions and in both roles.
  @Suite(.network(isImpaired: true)) struct Interoperation {
    /// An accelerated server and a client of the kernel.
    @Test(arguments: Weather.chosen, AddressFamily.allCases)
    private func server(_ weather: Weather, _ family: AddressFamily) throws {
      let network = try Network.running()
      let content = try network.laboratory.makeContent(sizes: [1, 100_000, largeSize])
      let server = try network.server.startNginx(
        NginxOptions(root: content.directory), preloaded: true)
      defer { server.stop() }
      try server.waitForAcceleration()
      try network.carry(
        content, weather.conditions, base: server.url(network.front, family),
        uploads: #require(server.uploadDirectory), client: network.peer, isPreloaded: false)
    }

    /// An accelerated client and a server of the kernel.
    @Test(arguments: Weather.chosen, AddressFamily.allCases)
    private func client(_ weather: Weather, _ family: AddressFamily) throws {
      let network = try Network.running()
      let content = try network.laboratory.makeContent(sizes: [1, 100_000, largeSize])
      let server = try network.peer.startNginx(
        NginxOptions(root: content.directory), preloaded: false)
      defer { server.stop() }
      try network.carry(
        content, weather.conditions, base: server.url(network.peerEnd, family),
        uploads: #require(server.uploadDirectory), client: network.server, isPreloaded: true)
    }

    /// On a link that loses nothing nobody who looks at the packets has anything to remark: nothing is
    /// retransmitted, reordered, acknowledged twice or malformed in tshark's expert information.
    @Test(arguments: AddressFamily.allCases) func nothingToRemark(_ family: AddressFamily) throws {
      let network = try Network.running()
      let content = try network.laboratory.makeContent(sizes: [0, 1, 100_000, 5_000_000])
      let server = try network.server.startNginx(
        NginxOptions(root: content.directory), preloaded: true)
      defer { server.stop() }
      try server.waitForAcceleration()
      // A machine that stands still for longer than a probe timeout sends again what was not lost:
      // three tries. What is wrong with the engine is wrong each time.
      var remarks: [Substring] = []
      for _ in 0..<3 {
        remarks = try network.remarks(
          on: content, base: server.url(network.front, family),
          uploads: #require(server.uploadDirectory))
        if remarks.isEmpty { return }
      }
      #expect(remarks == [])
    }
  }
}

extension Network {
  /// Carries everything while tcpdump looks on, and returns what tshark finds out of the ordinary.
  fileprivate func remarks(
    on content: Content, base: String, uploads: String
  ) throws -> [Substring] {
    let capture = "\(laboratory.directory)/capture-\(laboratory.nextNumber()).pcap"
    let dump = try peer.start([
      "tcpdump", "-i", peerEnd.interface, "-s", "200", "-B", "32768", "-U", "-w", capture,
      "tcp",
    ])
    #expect(waitUntil(seconds: 10) { dump.errorOutput.contains("listening on") })
    // One connection for all, then one for each, then the other direction.
    try fetch(content, from: base, on: peer, isPreloaded: false)
    for item in content.items { try peer.run(["curl", "-gsSf", base + item.name]) }
    try put(
      content, to: base + "upload/", arrivingIn: uploads,
      on: peer, isPreloaded: false)
    usleep(300_000)
    dump.signal(SIGTERM)
    _ = dump.wait(seconds: 10)
    #expect(dump.errorOutput.contains("0 packets dropped by kernel"), "\(dump.errorOutput)")
    let report = try laboratory.run([
      "tshark", "-n", "-q", "-r", capture, "--disable-protocol", "http", "-z", "expert,note,tcp",
    ])
    // Frequency, group, protocol, summary; what dissectors make of the random payload is not asked.
    let remarks = report.split(separator: "\n").filter { line in
      let fields = line.split(separator: " ")
      return fields.count > 3 && ["TCP", "IPv4", "IPv6"].contains(fields[2])
    }
    // Each connection ends in good order, and says so.
    #expect(remarks.contains { $0.contains("initiates the connection closing") }, "\(report)")
    return remarks.filter { remark in !ordinary.contains { remark.hasSuffix($0) } }
  }

  /// Fetches and puts everything under the conditions, and looks whether the link has done its part.
  fileprivate func carry(
    _ content: Content, _ conditions: ImpairmentConditions, base: String, uploads: String,
    client: NetworkHost, isPreloaded: Bool
  ) throws {
    let impairment = try #require(impairment)
    impairment.set(conditions)
    defer { impairment.set(ImpairmentConditions()) }
    let before = impairment.counters
    let bytes = content.items.reduce(0) { $0 + $1.size }
    try expectAcceleration(ofBytes: 2 * bytes) {
      try fetch(content, from: base, on: client, isPreloaded: isPreloaded)
      try put(
        content, to: base + "upload/", arrivingIn: uploads, on: client, isPreloaded: isPreloaded)
    }
    let after = impairment.counters
    #expect(after.received - before.received > 2 * bytes / 1500)
    #expect(after.refused == before.refused, "frames that the link did not take")
    #expect(conditions.loss == 0 || after.lost > before.lost)
    #expect(conditions.duplication == 0 || after.duplicated > before.duplicated)
    #expect(conditions.reordering == 0 || after.reordered > before.reordered)
  }

  fileprivate func fetch(
    _ content: Content, from base: String, on client: NetworkHost, isPreloaded: Bool
  ) throws {
    let directory = try laboratory.makeDirectory("download-\(laboratory.nextNumber())")
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var arguments = ["curl", "-gsSf", "--max-time", "600"]
    for item in content.items {
      arguments += ["-o", "\(directory)/\(item.name)", base + item.name]
    }
    try client.run(arguments, preloaded: isPreloaded, seconds: 620)
    try compare(content.items, in: directory)
  }

  fileprivate func put(
    _ content: Content, to base: String, arrivingIn uploads: String, on client: NetworkHost,
    isPreloaded: Bool
  ) throws {
    var arguments = ["curl", "-gsSf", "--max-time", "600", "-H", "Expect:"]
    for item in content.items { arguments += ["-T", content.path(item), base + item.name] }
    try client.run(arguments, preloaded: isPreloaded, seconds: 620)
    try compare(content.items, in: uploads)
    for item in content.items { try? FileManager.default.removeItem(atPath: uploads + item.name) }
  }
}
