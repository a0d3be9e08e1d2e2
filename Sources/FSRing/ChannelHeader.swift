import Synchronization

/// The words of a channel's header page. Each stands on a cache line of its own and has one writer.
///
/// Sleeping and waking, both ways: the sleeper sets its word, fences, looks at its ring once more
/// and only then sleeps; the waker publishes, fences, and writes the eventfd only if the word says
/// that the other side sleeps (`atomicMemoryFence(ordering: .sequentiallyConsistent)` on both
/// sides).
@safe
public struct ChannelHeader {
  /// First word of every channel, "FSCH" and the ABI version.
  public static let magic: UInt64 = 0x4653_4348_0000_0003

  private let base: UnsafeMutableRawPointer

  /// Interprets `base`, the page-aligned beginning of a mapping of at least
  /// `ChannelGeometry.headerSize` bytes.
  public init(base: UnsafeMutableRawPointer) {
    unsafe self.base = unsafe base
  }

  private func word(_ line: Int) -> SharedIndex {
    unsafe (base + line * 64).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Commands the application has published. Written by the application.
  public var commandTail: SharedIndex { unsafe word(1) }
  /// Commands the engine has taken. Written by the engine.
  public var commandHead: SharedIndex { unsafe word(2) }
  /// Events the engine has published. Written by the engine.
  public var eventTail: SharedIndex { unsafe word(3) }
  /// Events the application has taken. Written by the application.
  public var eventHead: SharedIndex { unsafe word(4) }
  /// How many of the application's threads sleep and want the eventfd written. Written by the
  /// application.
  public var applicationWaiters: SharedIndex { unsafe word(5) }
  /// Odd while the engine sleeps and wants the doorbell; it counts up at each change, so that a
  /// waker needs to ring only once per sleep. Written by the engine.
  public var engineSleep: SharedIndex { unsafe word(6) }
  /// Counts up whenever addresses or routes change: what the application remembers of the answers
  /// to `ControlKind.route` is void. Written by the engine.
  public var routeGeneration: SharedIndex { unsafe word(7) }

  /// Not zero while events wait for room in their ring: who has taken events then rings the
  /// doorbell, at the latest before sleeping, after the fence. The engine wakes the application when
  /// it sets the word, and before it sleeps looks for room after the fence. Written by the engine.
  public var eventsWait: SharedIndex { unsafe word(8) }

  /// Places for reports.
  public static let reportCount: UInt32 = 8

  /// `Command.value` of the inquiry whose report stands complete in a place. Written by the engine.
  public func reportSequence(_ place: UInt32) -> SharedIndex {
    precondition(place < Self.reportCount)
    return unsafe word(16 + Int(place))
  }

  /// A place for a `ConnectionReport`. Written by the engine, which never reads it.
  public func report(_ place: UInt32) -> UnsafeMutablePointer<ConnectionReport> {
    precondition(place < Self.reportCount)
    let offset = Self.reportOffset + Int(place) * ConnectionReport.size
    return unsafe (base + offset).assumingMemoryBound(to: ConnectionReport.self)
  }

  private static let reportOffset = 2048

  /// Writes the magic; done once by the daemon, before the memory is shared.
  public func initialize() {
    unsafe base.storeBytes(of: Self.magic, as: UInt64.self)
  }

  /// Whether the page begins with the magic of this ABI.
  public var isCurrent: Bool { unsafe base.load(as: UInt64.self) == Self.magic }
}
