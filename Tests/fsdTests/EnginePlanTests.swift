import FSRing
import Testing

@testable import fsd

@Suite struct EnginePlanTests {
  private func plan(
    queues: [Int], available: [Int], chosen: [Int]? = nil,
    placement: IdlePolicy.Placement? = nil, siblings: [Int: [Int]] = [:]
  ) -> EnginePlan {
    let topology = Topology(
      processors: available.map {
        Topology.Processor(number: $0, siblings: siblings[$0] ?? [$0], node: 0)
      })
    return EnginePlan.make(
      interfaces: queues.enumerated().map { ("eth\($0)", $1) }, topology: topology,
      chosen: chosen, placement: placement)
  }

  @Test func interfaceWithTheFewestQueuesLimits() {
    let plan = plan(queues: [8, 2], available: [0, 1, 2, 3])
    #expect(plan.processors == [0, 1])
    #expect(plan.limit == "eth1 has 2 queues")
    #expect(plan.queues(ofEngine: 1, queueCount: 8) == [1, 3, 5, 7])
    #expect(plan.queues(ofEngine: 1, queueCount: 2) == [1])
  }

  @Test func everyQueueHasExactlyOneEngine() {
    for engines in 1...5 {
      let plan = plan(queues: [11], available: Array(0..<engines))
      let all = (0..<engines).flatMap { plan.queues(ofEngine: $0, queueCount: 11) }
      #expect(all.sorted() == Array(0..<11))
    }
  }

  @Test func chosenProcessorsAreTakenInTheirOrder() {
    let plan = plan(queues: [4], available: [0, 1, 2, 3], chosen: [3, 1])
    #expect(plan.processors == [3, 1])
    #expect(plan.limit == nil)
  }

  @Test func placementFollowsTheShareOfProcessors() {
    #expect(plan(queues: [8], available: [0, 1]).placement == .merged)
    #expect(plan(queues: [8], available: [0, 1, 2, 3], chosen: [3]).placement == .split)
    #expect(plan(queues: [1], available: [0, 1]).placement == .merged)
    #expect(
      plan(queues: [8], available: [0, 1], placement: .split).placement == .split)
  }

  @Test func splitEnginesTakeTheSecondHyperThreads() {
    let siblings = [0: [0, 2], 1: [1, 3], 2: [0, 2], 3: [1, 3]]
    #expect(
      plan(queues: [8], available: [0, 1, 2, 3], placement: .split, siblings: siblings)
        .processors == [2, 3])
    #expect(plan(queues: [8], available: [0, 1, 2], placement: .split).processors == [2])
    #expect(plan(queues: [8], available: [0], placement: .split).processors == [0])
  }

  @Test func threadGetsTheNearestEngine() {
    let placement = EnginePlacement(processors: [2, 3], siblings: [0: [0, 2], 5: [5]])
    let counts = [7, 1]
    #expect(placement.engine(forProcessor: 3) { counts[$0] } == 1)
    #expect(placement.engine(forProcessor: 0) { counts[$0] } == 0, "the same physical core")
    #expect(placement.engine(forProcessor: 5) { counts[$0] } == 1, "the fewest channels")
  }
}

@Suite struct PreflightTests {
  @Test func missingCapabilitiesAreNamed() {
    #expect(
      Preflight.missingCapabilities(effective: 0)
        == ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_BPF"])
    #expect(Preflight.missingCapabilities(effective: .max).isEmpty)
    let network: UInt64 = 1 << 12 | 1 << 13 | 1 << 14
    #expect(Preflight.missingCapabilities(effective: network) == ["CAP_BPF"])
    #expect(Preflight.missingCapabilities(effective: network | 1 << 21).isEmpty)
    #expect(Preflight.missingCapabilities(effective: network | 1 << 39).isEmpty)
  }

  @Test func unknownInterfaceIsExplained() {
    let failure = #expect(throws: Failure.self) { try Preflight.interfaces(["nosuch0"]) }
    let text = failure?.description ?? ""
    #expect(
      text.hasPrefix("there is no network interface 'nosuch0'; the interfaces here are "))
    #expect(text.contains("lo"))
  }

  @Test func unusableProcessorIsExplained() throws {
    let failure = #expect(throws: Failure.self) { try Preflight.processors([0, 4000]) }
    #expect(
      failure?.description.hasPrefix("--cores: there is no processor 4000 to run on; ") == true)
    #expect(try Preflight.processors([0]) == [0])
    #expect(try !Preflight.processors(nil).isEmpty)
  }

  @Test func commandLineIsChecked() {
    for arguments in [
      ["start"], ["start", "--iface", "a", "--iface", "a"],
      ["start", "--iface", "a", "--cores", "x"],
      ["start", "--iface", "a", "--mode", "fast"],
      ["start", "--iface", "a", "--congestion", "bbr"],
      ["start", "--iface", "a", "--ecn", "yes"], ["start", "--iface", "a", "--ring-size", "1"],
      ["start", "--iface", "a", "--coalesce-microseconds", "10001"],
      ["start", "--iface", "a", "--coalesce-microseconds", "-1"],
      ["start", "--iface", "a", "--spin-microseconds", "-1"],
      ["start", "--iface", "a", "--spin-microseconds", "2000000"], ["nothing"],
      ["stats", "--fast"],
    ] {
      do {
        _ = try FSD.parseAsRoot(arguments)
        Issue.record("\(arguments) was accepted")
      } catch {
        #expect(FSD.exitCode(for: error).rawValue == 64, "\(arguments)")
      }
    }
    #expect(FSD.exitCode(for: Failure("")).rawValue == 1)
  }

  /// Congestion control goes by the names of Linux, and who asks for another is told which there are.
  @Test func congestionControlHasLinuxNames() throws {
    for choice in Start.CongestionChoice.allCases {
      let name = "\(choice.algorithm.name)"
      #expect(choice.rawValue == name)
      let command = try FSD.parseAsRoot(["start", "--iface", "a", "--congestion", name])
      #expect((command as? Start)?.congestion == choice)
      for other in Start.CongestionChoice.allCases {
        var bytes = Array("\(other.algorithm.name)".utf8)
        #expect(bytes.withUnsafeBytes { CongestionAlgorithm(name: $0) } == other.algorithm)
        bytes.removeLast()
        #expect(bytes.withUnsafeBytes { CongestionAlgorithm(name: $0) } == nil)
      }
    }
    do {
      _ = try FSD.parseAsRoot(["start", "--iface", "a", "--congestion", "bbr"])
    } catch {
      let message = FSD.message(for: error)
      #expect(message.contains("bbr") && message.contains("cubic") && message.contains("reno"))
    }
  }
}
