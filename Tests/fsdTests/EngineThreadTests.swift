import CLinux
import FSRing
import Glibc
import Testing

@testable import FSStack
@testable import fsd

/// A real engine without interfaces.
private final class Scene {
  let outbox: Outbox
  let thread: EngineThread
  /// What the engine has said.
  private var notices: [EngineNotice] = []

  init() throws {
    PinnedThread.prepareInterruption()
    outbox = try Outbox()
    thread = try EngineThread(
      EngineThread.Setup(
        index: 0, processor: 0, policy: IdlePolicy(placement: .merged, budgetNanoseconds: 0),
        configuration: EngineConfiguration(engineIndex: 0, engineCount: 1, secret: (1, 2, 3, 4)),
        interfaces: [], loopback: try LoopbackFrames(),
        peers: EngineLoop.Peers(incoming: [], outgoing: [nil], doorbells: [EngineDoorbell()]),
        outbox: outbox))
  }

  /// Whether the engine says something within some seconds.
  func hears(_ isMeant: (EngineNotice) -> Bool, within seconds: Double = 10) -> Bool {
    for _ in 0..<Int(seconds * 100) {
      // As the control thread does each second.
      thread.ensureProgress()
      notices += outbox.take()
      if notices.contains(where: isMeant) { return true }
      usleep(10_000)
    }
    return false
  }
}

/// The application of a channel.
private final class Application {
  let channel: Channel
  let id: ChannelID
  private var commands: RingProducer<Command>

  init(_ scene: Scene) throws {
    channel = try Channel.make(.standard).channel
    id = try #require(scene.thread.attach(channel))
    let header = unsafe ChannelHeader(base: channel.memory)
    commands = unsafe RingProducer(
      elements: (channel.memory + channel.geometry.commandOffset)
        .assumingMemoryBound(to: Command.self),
      capacity: channel.geometry.commandCapacity, producerIndex: header.commandTail,
      consumerIndex: header.commandHead)
  }

  func submit(_ batch: [Command]) {
    for command in batch { commands.append(command) }
    commands.publish()
    channel.doorbell.ring()
  }

  /// It sleeps, and has an event before it that it does not take: each `wantSpace` wakes it.
  func sleep() {
    unsafe ChannelHeader(base: channel.memory).applicationWaiters.pointee
      .store(1, ordering: .relaxed)
    submit([Command(.connect, slot: channel.geometry.firstConnectSlot)])
    waitForWakeUp()
  }

  func waitForWakeUp() {
    var attempts = 0
    while !channel.applicationWake.drain(), attempts < 1000 {
      attempts += 1
      usleep(10_000)
    }
    #expect(attempts < 1000)
  }

  /// Lets its eventfd block who writes it.
  func blockWriter() {
    let number = channel.applicationWake.descriptor.number
    var full: UInt64 = .max - 1
    #expect(fcntl(number, F_SETFL, 0) == 0)
    #expect(unsafe write(number, &full, 8) == 8)
  }

  func isViolator(_ notice: EngineNotice) -> Bool {
    if case .violation(_, let other, _) = notice { other === channel } else { false }
  }

  func isReleased(_ notice: EngineNotice) -> Bool {
    if case .released(_, let other, id) = notice { other === channel } else { false }
  }
}

extension Serially {
  /// Channels in the thread of an engine.
  @Suite struct EngineThreadTests {
    /// A request that came before the notice of a violation must not meet another's channel.
    @Test func aNumberIsFreeWhenItHasBeenLetGo() throws {
      let scene = try Scene()
      defer { scene.thread.stop() }
      let offender = try Application(scene)
      offender.submit([Command(.close, slot: .max)])
      #expect(scene.hears(offender.isViolator) && scene.hears(offender.isReleased))
      #expect(try Application(scene).id != offender.id)
      scene.thread.detach(offender.id, .expelled)
      scene.thread.free(offender.id)
      #expect(try Application(scene).id == offender.id)
    }

    /// Whatever an application asks for in one batch wakes it once.
    @Test func anApplicationIsWokenOnceInABurst() throws {
      let scene = try Scene()
      defer { scene.thread.stop() }
      let application = try Application(scene)
      application.sleep()
      let before = scene.thread.snapshot().loop.wakeUps
      application.submit(Array(repeating: Command(.wantSpace), count: 100))
      application.waitForWakeUp()
      #expect(scene.thread.snapshot().loop.wakeUps == before + 1)
    }

    /// Eventfds that block who writes them hold up the engine once, however many there are.
    @Test func blockingEventDescriptorsHoldUpTheEngineOnce() throws {
      let scene = try Scene()
      defer { scene.thread.stop() }
      let offenders = try (0..<30).map { _ in try Application(scene) }
      let witness = try Application(scene)
      for application in offenders + [witness] { application.sleep() }
      for application in offenders {
        application.blockWriter()
        application.submit(Array(repeating: Command(.wantSpace), count: 50))
      }
      let start = MonotonicClock.now
      for application in offenders { #expect(scene.hears(application.isViolator)) }
      #expect(MonotonicClock.now - start < 2_000_000_000, "each alone would take 100 ms")
      witness.submit([Command(.wantSpace)])
      witness.waitForWakeUp()
      #expect(!scene.hears(witness.isViolator, within: 0.1))
    }

    /// Nor does one keep the daemon from stopping.
    @Test func aStuckEngineStops() throws {
      let scene = try Scene()
      let application = try Application(scene)
      application.sleep()
      application.blockWriter()
      application.submit([Command(.wantSpace)])
      usleep(50_000)
      scene.thread.stop()
    }
  }
}
