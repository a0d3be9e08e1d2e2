import Foundation
import Testing

@testable import FSDevice
@testable import fsd

/// Where engines run on machines of other shapes, and what is bound there.
@Suite struct TopologyTests {
  private func plan(
    _ topology: Topology, queues: Int, chosen: [Int]? = nil,
    placement: IdlePolicy.Placement? = nil, node: Int? = nil
  ) -> EnginePlan {
    EnginePlan.make(
      interfaces: [("eth0", queues)], topology: topology, chosen: chosen, placement: placement,
      node: node)
  }

  /// Two packages of twelve cores with two hyper-threads each: an engine on the second thread of each core,
  /// those near the card first.
  @Test func twoPackagesWithHyperThreads() throws {
    let machine = try RecordedMachine("two-packages-hyper-threads")
    let topology = Topology(of: Array(0..<48), root: machine.root)
    #expect(topology.siblings[5] == [5, 29] && topology.siblings[29] == [5, 29])
    #expect(topology.node(of: 11) == 0 && topology.node(of: 12) == 1 && topology.node(of: 47) == 1)
    #expect(Topology.node(ofInterface: "eth0", root: machine.root) == 0)
    #expect(Topology.node(ofInterface: "eth1", root: machine.root) == 1)

    let all = plan(topology, queues: 63)
    #expect(all.processors == Array(24..<48) && all.placement == .split)
    #expect(all.reason == .hyperThreads && all.limit == nil)
    let near = plan(topology, queues: 16, node: 1)
    #expect(near.processors == Array(36..<48) + Array(24..<28))
    #expect(near.limit == "eth0 has 16 queues")
    let merged = plan(topology, queues: 63, placement: .merged, node: 1)
    #expect(merged.processors == Array(12..<24) + Array(0..<12), "one for each core")
    #expect(merged.reason == .option)

    // Chosen by the user: the threads beside them are the programs'.
    let beside = plan(topology, queues: 63, chosen: [24, 25])
    #expect(beside.placement == .split && beside.reason == .hyperThreads)
    let both = plan(topology, queues: 63, chosen: [0, 24])
    #expect(both.placement == .split && both.reason == .spareProcessors)

    // A program's thread gets the engine of its core, whichever of both threads it runs on.
    let engines = EnginePlacement(
      processors: all.processors, siblings: topology.siblings, placement: all.placement)
    #expect(engines.engine(forProcessor: 5) { _ in 0 } == 5)
    #expect(engines.engine(forProcessor: 29) { _ in 0 } == 5)
  }

  /// Without hyper-threads and with queues for all, engines share the processors of the programs; with
  /// queues for few, they get processors of their own.
  @Test func withoutHyperThreads() throws {
    let machine = try RecordedMachine("eight-cores")
    let topology = Topology(of: Array(0..<8), root: machine.root)
    #expect(topology.laterOfEachCore == [] && topology.firstOfEachCore == Array(0..<8))
    #expect(Topology.node(ofInterface: "eth0", root: machine.root) == nil)
    let merged = plan(topology, queues: 8)
    #expect(merged.processors == Array(0..<8) && merged.placement == .merged)
    #expect(merged.reason == .noSpareProcessors)
    let split = plan(topology, queues: 2)
    #expect(split.processors == [4, 5] && split.placement == .split)
    #expect(split.reason == .spareProcessors)
    #expect(plan(topology, queues: 8, placement: .split).processors == [4, 5, 6, 7])
  }

  /// This virtual machine has two processors and one queue.
  @Test func smallVirtualMachine() throws {
    let machine = try RecordedMachine("small-virtual-machine")
    let topology = Topology(of: [0, 1], root: machine.root)
    #expect(topology.siblings == [0: [0], 1: [1]])
    let plan = plan(topology, queues: 1)
    #expect(plan.processors == [0] && plan.placement == .merged)
    #expect(plan.limit == "eth0 has 1 queue")
  }

  /// A machine whose sysfs says nothing is one without hyper-threads and nodes.
  @Test func nothingRecorded() {
    let topology = Topology(of: [3, 1], root: "/nonexistent")
    #expect(topology.processors.map(\.number) == [1, 3])
    #expect(topology.siblings == [1: [1], 3: [3]] && topology.node(of: 3) == 0)
  }

  // MARK: Binding a program's threads

  /// Threads that are to be bound are spread over the engines, and the room of those that leave is used again.
  @Test func threadsAreSpread() throws {
    let machine = try RecordedMachine("two-packages-hyper-threads")
    let topology = Topology(of: Array(0..<48), root: machine.root)
    let placement = EnginePlacement(
      processors: Array(24..<28), siblings: topology.siblings, placement: .split)
    var counts = [0, 0, 0, 0]
    var places: [Int] = []
    for _ in 0..<6 {
      let place = placement.pinned { counts[$0] }
      counts[place.engine] += 1
      places.append(place.processor)
    }
    #expect(places == [0, 1, 2, 3, 0, 1], "more threads than engines share them")
    counts[2] -= 1
    #expect(placement.pinned { counts[$0] } == (engine: 2, processor: 2))
    let merged = EnginePlacement(
      processors: [4, 6], siblings: topology.siblings, placement: .merged)
    #expect(merged.pinned { [1, 0][$0] } == (engine: 1, processor: 6))
    // No hyper-threads: processors that no engine has.
    let eight = Topology(of: Array(0..<8), root: "/nonexistent")
    let own = EnginePlacement(processors: [4, 5], siblings: eight.siblings, placement: .split)
    #expect(own.pinned { [0, 1][$0] } == (engine: 0, processor: 0))
    #expect(own.pinned { [1, 0][$0] } == (engine: 1, processor: 1))
  }

  // MARK: Interrupts and transmit queues

  private func journal(_ machine: RecordedMachine) -> RestoreJournal {
    RestoreJournal(path: journalPath, root: machine.root)
  }
  private let journalPath = NSTemporaryDirectory() + "fsd-journal-\(UUID().uuidString)"

  /// Each queue's interrupt goes to its engine's processor and that processor sends through the queue; at
  /// the end everything is as before, and also after a crash.
  @Test func interruptsAndTransmitQueues() throws {
    let machine = try RecordedMachine("two-packages-hyper-threads")
    let affinity = QueueAffinity(interface: "eth1", root: machine.root)
    #expect(
      affinity.interrupts().map { [$0.interrupt, $0.queue] } == (0..<12).map { [110 + $0, $0] })
    let journal = journal(machine)
    let bound = affinity.bind(processors: Array(36..<48), journal: journal)
    #expect(bound == QueueAffinity.Result(interrupts: 12, transmitQueues: 12))
    #expect(try machine.text("/proc/irq/113/smp_affinity_list") == "39")
    #expect(try machine.text("/sys/class/net/eth1/queues/tx-3/xps_cpus") == "00000080,00000000")
    #expect(try machine.text("/proc/irq/122/smp_affinity_list") == "0-47", "no queue's")

    func isRestored() throws -> Bool {
      try machine.text("/proc/irq/113/smp_affinity_list") == "0-47"
        && machine.text("/sys/class/net/eth1/queues/tx-3/xps_cpus") == "0000,00000008"
    }
    #expect(try !isRestored())
    #expect(journal.undo() == [])
    #expect(try isRestored())

    _ = affinity.bind(processors: Array(36..<48), journal: self.journal(machine))
    #expect(try !isRestored())
    let sentences = try self.journal(machine).undoStale()
    #expect(sentences.count == 24)
    #expect(try isRestored())
  }

  @Test func virtioInterrupts() throws {
    let machine = try RecordedMachine("small-virtual-machine")
    let affinity = QueueAffinity(interface: "eth0", root: machine.root)
    #expect(affinity.interrupts().map { [$0.interrupt, $0.queue] } == [[38, 0], [39, 0]])
    let journal = journal(machine)
    let bound = affinity.bind(processors: [1], journal: journal)
    #expect(bound == QueueAffinity.Result(interrupts: 2, transmitQueues: 0))
    #expect(try machine.text("/proc/irq/39/smp_affinity_list") == "1")
    #expect(journal.undo() == [])
    #expect(try machine.text("/proc/irq/39/smp_affinity_list") == "0-1")
  }

  @Test func namesOfInterrupts() {
    for (action, queue) in [
      ("eth0-TxRx-11", 11), ("eth0-rx-3", 3), ("eth0-tx-0", 0), ("mlx5_comp7@pci:0000:81:00.0", 7),
      ("i40e-eth0-TxRx-5", 5), ("eth0", nil), ("virtio2-config", nil), ("mlx5_async0@pci:1", nil),
      ("virtio2-output.1", 1), ("eth0-TxRx-", nil), ("ixgbe-misc-3", nil),
    ] as [(String, Int?)] {
      #expect(QueueAffinity.queue(ofAction: action, interface: "eth0") == queue, "\(action)")
    }
    #expect(QueueAffinity.mask(0) == "00000001" && QueueAffinity.mask(31) == "80000000")
    #expect(QueueAffinity.mask(63) == "80000000,00000000")
    #expect(QueueAffinity.mask(64) == "00000001,00000000,00000000")
  }

  /// A journal that somebody else has written does not write where this project never does.
  @Test func journalWritesNowhereElse() {
    for line in [
      "file /etc/passwd x", "file /proc/irq/../../etc/smp_affinity_list 1", "file /proc/irq/1 1",
      "file /tmp/proc/irq/1/smp_affinity_list 1", "file /tmp/sys/class/net/eth0/xps_cpus 1",
      "file /tmp/xps_cpus 1", "file /tmp/gro_flush_timeout 1", "file /proc/irq/7/smp_affinity_list",
    ] { #expect(JournalEntry(line: Substring(line)) == nil, "\(line)") }
    let entry = JournalEntry.file(path: "/proc/irq/7/smp_affinity_list", text: "0-47")
    #expect(JournalEntry(line: Substring(entry.line)) == entry)
  }

  /// Whatever becomes of a daemon while it writes the journal, what it has changed until then is in it.
  @Test func journalIsReplacedWhole() throws {
    let journal = RestoreJournal(path: journalPath)
    let ports = JournalEntry.reservedPorts(PortSet(text: "1-2"))
    try journal.record(ports)
    // The next record finds no room.
    try #require(mkdir(journalPath + ".new", 0o755) == 0)
    defer { rmdir(journalPath + ".new") }
    #expect(throws: DeviceError.self) {
      try journal.record(.channels(interface: "eth0", count: 4))
    }
    #expect(try TextFile.read(journalPath) == ports.line + "\n")
    rmdir(journalPath + ".new")
    try journal.record(.channels(interface: "eth0", count: 2))
    #expect(try TextFile.read(journalPath) == ports.line + "\nchannels eth0 2\n")
    #expect(access(journalPath + ".new", F_OK) != 0)
    unlink(journalPath)
  }
}
