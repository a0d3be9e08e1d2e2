import Testing

@testable import FSDevice
@testable import FSStack
@testable import fsd

private func snapshot(_ index: Int, frames: UInt64) -> EngineSnapshot {
  var counters = EngineCounters()
  counters.framesReceived = frames
  counters.acceptsLocal = frames / 2
  var loop = LoopCounters()
  loop.busyNanoseconds = 250
  loop.idleNanoseconds = 250
  loop.sleepNanoseconds = 500
  loop.handOverFull = 2
  for size in [1, 3, 64, 40] { loop.countBurst(size) }
  return EngineSnapshot(
    index: index, processor: index + 4,
    engine: EngineStatistics(
      counters: counters, drops: [.tcpChecksum: 3, .handOverFull: 1],
      connections: [.established: 5], channels: 2, receiveChunksInUse: 1, sendChunksInUse: 4,
      reassemblySegments: 0, freeTransmitFrames: [10, 20]),
    loop: loop,
    sockets: [
      SocketSnapshot(
        interface: "eth0", queue: index, mode: "zero-copy",
        counters: [("received_packets", frames)], kernel: [("receive_ring_full", 1)])
    ])
}

private func report() -> JSON {
  StatisticsReport.make(
    engines: [snapshot(0, frames: 100), snapshot(1, frames: 1000)],
    programs: [("eth0", [("redirected_tcp", 7)])], uptimeNanoseconds: 5_000_000_000)
}

private func number(_ value: JSON?, _ path: String...) -> Int64? {
  guard case .number(let number)? = path.reduce(value, { $0?[$1] }) else { return nil }
  return number
}

@Suite struct StatisticsTests {
  @Test func reportHasEnginesAndTheirTotal() {
    let report = report()
    #expect(number(report, "uptime_milliseconds") == 5000)
    #expect(number(report, "engine_count") == 2)
    let engines = report["engines"]?.elements ?? []
    #expect(engines.map { number($0, "processor") } == [4, 5])
    #expect(engines.map { number($0, "frames_received") } == [100, 1000])
    let total = report["total"]
    #expect(number(total, "frames_received") == 1100)
    #expect(number(total, "accepts_local") == 550)
    #expect(number(total, "connections", "established") == 10)
    #expect(number(total, "connections", "syn_sent") == 0, "every state is there")
    #expect(number(total, "drops", "tcp_checksum") == 6)
    #expect(number(total, "drops", "hand_over_full") == 6, "counted by engine and thread")
    #expect(number(total, "drops", "no_listener") == 0, "every reason is there")
    #expect(number(total, "free_transmit_frames") == 60)
    #expect(number(total, "loop", "bursts", "1") == 2)
    #expect(number(total, "loop", "bursts", "32_63") == 2)
    #expect(number(total, "loop", "bursts", "64") == 2)
    #expect(total?["engine"] == nil)
    #expect(number(engines[1]["sockets"]?.elements.first, "receive_ring_full") == 1)
    #expect(number(report, "xdp", "eth0", "redirected_tcp") == 7)
  }

  @Test func keysAreInSnakeCase() {
    func check(_ value: JSON, _ path: String) {
      for member in value.members {
        let isSnake = member.name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }
        #expect(isSnake, "\(path).\(member.name)")
        check(member.value, path + "." + member.name)
      }
      for element in value.elements { check(element, path) }
    }
    check(report(), "")
    #expect(Fields.snakeCase("redirectedTCP") == "redirected_tcp")
    #expect(Fields.snakeCase("ipv4HeaderLength") == "ipv4_header_length")
    #expect(Fields.snakeCase("finWait1") == "fin_wait1")
  }

  @Test func tableShowsTotalsOrRates() {
    let now = report()
    let text = StatisticsView.render(now, since: nil)
    #expect(text.contains("engine 0  engine 1  total"))
    #expect(text.contains("packets in                   100     1,000  1,100"))
    #expect(text.contains("connections: established 10"))
    #expect(text.contains("tcp_checksum 6"))
    #expect(text.contains("eth0 queue 1: zero-copy, 1,000 in, 0 out, receive_ring_full 1"))
    #expect(text.contains("25.0%"))
    let later = StatisticsReport.make(
      engines: [snapshot(0, frames: 300), snapshot(1, frames: 1000)], programs: [],
      uptimeNanoseconds: 7_000_000_000)
    let rates = StatisticsView.render(later, since: now)
    #expect(rates.contains("per second"))
    #expect(rates.contains("packets in                   100         0    100"))
  }

  /// The counters of the original: accepts common, packets passed and steered, filter hits and misses.
  @Test func originalCounters() {
    var strays = snapshot(0, frames: 100)
    strays.engine.counters.handedOver = 30
    strays.engine.counters.listenLookupsLocal = 5
    strays.engine.counters.listenLookupsGlobal = 6
    let report = StatisticsReport.make(
      engines: [strays, snapshot(1, frames: 1000)], programs: [],
      interfaces: [
        ("eth0", [("fdir_match", 70), ("fdir_miss", 8), ("rx_packets", 9)]), ("veth0", []),
      ], processes: [2, 4], uptimeNanoseconds: 1)
    let steering = report["engines"]?.elements[0]["steering"]
    #expect(number(steering, "passed_total") == 100 && number(steering, "steered_local") == 70)
    // Two found the ring full.
    #expect(number(steering, "steered_remote") == 28 && number(steering, "steered_error") == 2)
    #expect(number(report, "total", "steering", "passed_total") == 1100)
    #expect(number(report, "total", "listen_lookups_local") == 5)
    #expect(number(report, "total", "listen_lookups_global") == 6)
    #expect(report["processes"] == .array([.number(2), .number(4)]))
    // Neither has the library.
    let complete = StatisticsReport.withAcceptsCommon(report)
    #expect(complete["accepts_common"] == .number(0) && complete["processes"] == nil)
    #expect(complete.members.count == report.members.count)
    #expect(
      report["filters"]?["eth0"]
        == .object([.init("hits", .number(70)), .init("misses", .number(8))])
    )
    #expect(report["filters"]?["veth0"] == .object([]))
    let counted = JSON.object(report.members + [.init("accepts_common", .number(4))])
    let text = StatisticsView.render(counted, since: nil)
    #expect(text.contains("eth0: 70 filter hits, 8 misses") && !text.contains("veth0"))
    #expect(text.contains("accepts common (by way of the kernel): 4"))
    #expect(text.contains("packets steered remote"))
  }

  @Test func numbersAreGrouped() {
    #expect(Table.grouped(0) == "0")
    #expect(Table.grouped(999) == "999")
    #expect(Table.grouped(1000) == "1,000")
    #expect(Table.grouped(-1_234_567) == "-1,234,567")
  }
}

@Suite struct JSONTests {
  @Test func textIsReadBack() {
    let value = JSON.object([
      JSON.Member("empty", .object([])), JSON.Member("none", .array([])),
      JSON.Member("text \"\\\n\u{1}é", .string("tab\t/")),
      JSON.Member("list", .array([.number(-5), .bool(true), .bool(false), .null])),
      JSON.Member("large", .count(UInt64.max)),
    ])
    #expect(JSONParser.parse(value.render()) == value)
    #expect(JSONParser.parse(value.render(indented: true)) == value)
  }

  @Test(arguments: [
    "", "{", "[1,", "[1 2]", "{\"a\" 1}", "{1:2}", "\"", "\"\\x\"", "\"\\u12\"", "tru", "1.5", "-",
    "1 2", "nulll", String(repeating: "[", count: 100),
  ])
  func malformedTextIsRefused(text: String) {
    #expect(JSONParser.parse(text) == nil)
  }

  @Test func mergingAddsNumbersAndKeepsTheRest() {
    let one = JSON.object([
      JSON.Member("a", .number(1)), JSON.Member("b", .object([JSON.Member("c", .number(2))])),
    ])
    let two = JSON.object([
      JSON.Member("b", .object([JSON.Member("c", .number(5))])), JSON.Member("d", .string("x")),
    ])
    let sum = one.merged(with: two, +)
    #expect(sum["a"] == .number(1))
    #expect(sum["b"]?["c"] == .number(7))
    #expect(sum["d"] == .string("x"))
  }
}
