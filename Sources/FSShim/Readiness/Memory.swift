import CShim
import Synchronization

/// Most channels a process has; see `channelCount`.
let channelLimit = 256

/// Numbers of epoll sets begin at 1, so that 0 means none.
let epollSetLimit: UInt32 = 4096
/// Numbers of links begin at 1, so that 0 means none.
let linkLimit: UInt32 = 1 << 20
/// Threads that may sleep in the shim at a time with a waiter of their own.
let waiterLimit: UInt32 = 32768
/// Locks among which the link lists of the sockets are divided.
let shardCount = 64

/// The eventfds of channels that an epoll set of the kernel holds: for each channel the generation
/// it had when it was added. A channel of another generation has another eventfd.
struct ChannelRegistrations {
  var generations: InlineArray<256, UInt32>

  /// Adds the eventfd of `channel` to the kernel's set `descriptor` unless it is there, and with it
  /// the control connection, which tells when the daemon has gone. Of sets that are `exclusive` the channel wakes one.
  mutating func add(_ channel: Int32, to descriptor: Int32, exclusive: Bool = false) {
    if contains(channel) { return }
    let edge = EPOLLIN.rawValue | EPOLLET.rawValue
    _ = fs_sys_epoll_ctl(
      descriptor, EPOLL_CTL_ADD, channelWakeDescriptor(channel),
      exclusive ? edge | EPOLLEXCLUSIVE.rawValue : edge, Sentinel.channel.data(UInt32(channel)))
    let control = controlDescriptor()
    if control >= 0 {
      _ = fs_sys_epoll_ctl(
        descriptor, EPOLL_CTL_ADD, control, edge, Sentinel.control.data(0))
    }
    generations[Int(channel)] = channelGeneration(channel)
  }

  /// Whether the eventfd that `channel` has now is there.
  func contains(_ channel: Int32) -> Bool {
    generations[Int(channel)] == channelGeneration(channel)
  }
}

/// An epoll set of the application that watches descriptors of ours beside the kernel's.
///
/// The application's epoll descriptor stays what it was: the kernel's descriptors are in it as ever.
/// Ours are links, kept here; and into the kernel's set go, with sentinels as data, the eventfds of
/// the channels concerned, the kernel's side of our listeners, and an eventfd for wake-ups by
/// threads of this process.
struct EpollSet {
  /// Protects everything here and the set's part of its links.
  var lock: UInt32
  /// Whether the number is taken.
  var isUsed: Bool
  /// Whether the set was made by a parent before fork, and this process has not used it since.
  var isInherited: Bool
  /// Whether it was made by a parent: the kernel's set is that of several processes.
  var isShared: Bool
  /// Which side goes first when there is room for one event only.
  var kernelTurn: Bool
  /// How many descriptors of the set are open.
  var references: UInt32
  /// One of them.
  var descriptor: Int32
  /// The eventfd with which threads of this process wake a sleeper.
  var wakeDescriptor: Int32
  /// All links of the set but those of sets.
  var firstLink: UInt32
  /// Links of the sets in the set.
  var firstMember: UInt32
  /// Links by which the set is in others.
  var firstMembership: UInt32
  /// Links that may be ready, first come first served.
  var readyHead: UInt32
  var readyTail: UInt32
  var readyCount: UInt32
  /// Threads that sleep in the set.
  var waiters: UInt32
  /// Calls that wait in the set.
  var calls: UInt32
  /// Whether those calls go on although the application has closed its last descriptor: `descriptor` is
  /// theirs.
  var isLeftToCalls: Bool
  /// Sets and polls in which this set is a member: it has to become readable itself.
  var nested: UInt32
  /// `fs_ticks` of the last look at the kernel's side.
  var lastLook: UInt64
  /// Channels that links concern.
  var channelCount: UInt32
  var channels: InlineArray<256, UInt8>
  /// Links of each channel, and one more if it has ever brought connections of a listener.
  var channelUses: InlineArray<256, UInt32>
  /// Channels that have brought connections of a listener, one bit each.
  var listeningChannels: InlineArray<4, UInt64>
  var registrations: ChannelRegistrations
}

/// What ties a descriptor of ours to an epoll set: what epoll_ctl(2) calls an entry of the
/// interest list.
struct Link {
  var set: UInt32
  var socket: Int32
  /// The set that the descriptor stands for, if that is a set; 0 for none. The lists of a socket and a set
  /// in which a link is are then those of memberships and members: `NestedSets.swift`.
  var member: UInt32
  /// The number with which it was added; with the socket or set, the key of the entry.
  var descriptor: Int32
  /// That number has been closed, while others of the socket live.
  var isStale: Bool
  /// Events wanted, with EPOLLERR and EPOLLHUP, and the flags EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE.
  var mask: UInt32
  /// The application's word.
  var data: UInt64
  /// The channel that the link concerns, or -1.
  var channel: Int32
  var isReady: Bool
  /// Whether the kernel's side of the descriptor is in the kernel's set, with a sentinel.
  var isInKernel: Bool
  var ofSocket: Neighbours
  var ofSet: Neighbours
  var nextReady: UInt32
  var previousReady: UInt32
}

/// The links before and behind one in a list; 0 for none.
struct Neighbours {
  var next: UInt32 = 0
  var previous: UInt32 = 0
}

/// The lists that a link is in.
enum LinkList {
  /// That of its socket, or of the set that is a member.
  case ofSocket
  /// That of its set.
  case ofSet
}

extension Link {
  /// Its neighbours in one of its lists.
  subscript(_ list: LinkList) -> Neighbours {
    get { list == .ofSocket ? ofSocket : ofSet }
    set { if list == .ofSocket { ofSocket = newValue } else { ofSet = newValue } }
  }
}

/// A thread's own epoll set of the kernel, over the eventfds of the channels it has waited for.
struct Waiter {
  var isUsed: Bool
  var descriptor: Int32
  /// The socket for which the thread waits; `Waiter.several` or `Waiter.none`.
  var socket: Int32
  var registrations: ChannelRegistrations
}

extension Waiter {
  static var none: Int32 { -1 }
  static var several: Int32 { -2 }
}

typealias EpollSetPointer = UnsafeMutablePointer<EpollSet>
typealias LinkPointer = UnsafeMutablePointer<Link>
typealias WaiterPointer = UnsafeMutablePointer<Waiter>

/// The memory behind everything in Readiness: one mapping, made when it is first needed. Only what
/// is touched costs anything.
struct ReadinessMemory {
  private let base: UnsafeMutableRawPointer

  private static let setsOffset = 65536
  private static let waitersOffset =
    setsOffset + Int(epollSetLimit) * MemoryLayout<EpollSet>.stride
  private static let linksOffset = waitersOffset + Int(waiterLimit) * MemoryLayout<Waiter>.stride
  private static let size = linksOffset + Int(linkLimit) * MemoryLayout<Link>.stride

  /// What precedes the tables.
  struct Header {
    /// Protects the rest of the header and who owns which number.
    var lock: UInt32
    var firstFreeLink: UInt32
    var linksTouched: UInt32
    /// Sets and waiters from here on have never been used.
    var setsTouched: UInt32
    var waitersTouched: UInt32
    /// An eventfd that is always readable, in every waiter: `rouse`. -1 until there is a waiter.
    var readableDescriptor: Int32
    var spinNanoseconds: UInt64
    var sentinelTag: UInt64
  }

  /// The memory if there is any yet.
  static var existing: ReadinessMemory? {
    guard let base = fs_readiness_memory_get() else { return nil }
    return ReadinessMemory(base: base)
  }

  /// The memory, made now if need be; nil when there is none to be had.
  static var current: ReadinessMemory? {
    if let existing { return existing }
    guard let fresh = fs_sys_map_private(UInt(size)) else { return nil }
    let header = fresh.assumingMemoryBound(to: Header.self)
    header.pointee.linksTouched = 1
    header.pointee.setsTouched = 1
    header.pointee.waitersTouched = 1
    header.pointee.readableDescriptor = -1
    header.pointee.spinNanoseconds = UInt64(fs_spin_microseconds()) * 1000
    header.pointee.sentinelTag = 0xf5 << 56 | (fs_process_random() >> 8 & 0xff_ffff) << 32
    let base = fs_readiness_memory_offer(fresh)
    if base != fresh { _ = fs_sys_unmap(fresh, UInt(size)) }
    return ReadinessMemory(base: base)
  }

  var header: UnsafeMutablePointer<Header> { base.assumingMemoryBound(to: Header.self) }
  var lock: SharedWord { base.assumingMemoryBound(to: Atomic<UInt32>.self) }

  /// Protects which set is in which. It is taken before a set's.
  var nestingLock: SharedWord { (base + 2048).assumingMemoryBound(to: Atomic<UInt32>.self) }

  /// The lock of the link list of a socket: each on a cache line of its own.
  func shardLock(_ socket: Int32) -> SharedWord {
    (base + 4096 + (Int(socket) & (shardCount - 1)) * 64)
      .assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  func set(_ number: UInt32) -> EpollSetPointer {
    (base + Self.setsOffset).assumingMemoryBound(to: EpollSet.self) + Int(number)
  }

  func setLock(_ number: UInt32) -> SharedWord {
    UnsafeMutableRawPointer(set(number)).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  func waiter(_ number: UInt32) -> WaiterPointer {
    (base + Self.waitersOffset).assumingMemoryBound(to: Waiter.self) + Int(number)
  }

  func link(_ number: UInt32) -> LinkPointer {
    (base + Self.linksOffset).assumingMemoryBound(to: Link.self) + Int(number)
  }

  /// A cleared link, or 0 when there are no more.
  func allocateLink() -> UInt32 {
    guard Lock.acquire(lock) else { return 0 }
    defer { Lock.release(lock) }
    var number = header.pointee.firstFreeLink
    if number != 0 {
      header.pointee.firstFreeLink = link(number).pointee.ofSocket.next
    } else {
      guard header.pointee.linksTouched < linkLimit else { return 0 }
      number = header.pointee.linksTouched
      header.pointee.linksTouched += 1
    }
    link(number).initialize(
      to: Link(
        set: 0, socket: -1, member: 0, descriptor: -1, isStale: false, mask: 0, data: 0,
        channel: -1, isReady: false, isInKernel: false, ofSocket: Neighbours(), ofSet: Neighbours(),
        nextReady: 0, previousReady: 0))
    return number
  }

  func freeLink(_ number: UInt32) {
    guard Lock.acquire(lock) else { return }
    link(number).pointee.set = 0
    link(number).pointee.socket = -1
    link(number).pointee.member = 0
    link(number).pointee.ofSocket.next = header.pointee.firstFreeLink
    header.pointee.firstFreeLink = number
    Lock.release(lock)
  }
}

/// The data words under which descriptors of the shim stand in the application's epoll sets. Their
/// upper half is a number that no pointer and no small integer has, partly random.
enum Sentinel: UInt64 {
  /// The eventfd of a channel.
  case channel = 1
  /// The kernel's side of a listener, or a set; the number is that of the link.
  case link
  /// The control connection.
  case control
  /// The eventfd of the set itself.
  case wake

  /// The data word for `number`.
  func data(_ number: UInt32) -> UInt64 {
    (ReadinessMemory.existing?.header.pointee.sentinelTag ?? 0) | rawValue << 28 | UInt64(number)
  }

  /// What a data word means, if it is the shim's.
  static func decode(_ data: UInt64, tag: UInt64) -> (kind: Sentinel, number: UInt32)? {
    guard data & 0xffff_ffff_0000_0000 == tag, let kind = Sentinel(rawValue: data >> 28 & 15)
    else { return nil }
    return (kind, UInt32(data & 0xfff_ffff))
  }
}

/// Whether a socket listens, in the kernel and for engines.
@inline(__always)
func isListening(_ socket: Int32) -> Bool { socketAt(socket).pointee.state == .listening }
