import CShim
import Synchronization

/// Bits of epoll(7), as `socketReadiness` reports them.
enum Ready {
  static var input: UInt32 { 0x001 | 0x040 }
  /// The urgent byte can be read with MSG_OOB.
  static var priority: UInt32 { 0x002 }
  static var output: UInt32 { 0x004 | 0x100 }
  static var error: UInt32 { 0x008 }
  static var hangUp: UInt32 { 0x010 }
  static var peerHangUp: UInt32 { 0x2000 }
  /// A read finds bytes, or the end of the stream: `input`, but without regard to SO_RCVLOWAT. For
  /// this library alone; in masks of epoll(7) the bit is EPOLLET, which is no event.
  static var anyInput: UInt32 { 1 << 31 }
  /// What a socket reports that has died: everything returns at once.
  static var dead: UInt32 { input | output | hangUp | peerHangUp }
}

/// In what part of its life a socket is.
enum SocketState: UInt8 {
  /// The slab's.
  case free
  /// Made by socket(); whether the kernel or an engine will carry it is open.
  case undecided
  /// Listens in the kernel, and for engines.
  case listening
  /// An engine has been asked to connect it.
  case connecting
  /// Accepted by an engine, waits for accept().
  case queued
  /// Carried by an engine.
  case connected
  /// The connection is dead; what had been received can still be read.
  case failed
}

/// Properties of a socket that are either there or not. Not an `OptionSet`, because that can be
/// written as an array literal, and arrays are allocated.
struct SocketFlags {
  private var rawValue: UInt32

  init() { rawValue = 0 }
  private init(rawValue: UInt32) { self.rawValue = rawValue }

  @inline(__always)
  func contains(_ other: Self) -> Bool { rawValue & other.rawValue == other.rawValue }
  @inline(__always)
  func isDisjoint(with other: Self) -> Bool { rawValue & other.rawValue == 0 }
  @inline(__always)
  mutating func insert(_ other: Self) { rawValue |= other.rawValue }
  @inline(__always)
  mutating func remove(_ other: Self) { rawValue &= ~other.rawValue }
  private func union(_ other: Self) -> Self { Self(rawValue: rawValue | other.rawValue) }

  /// O_NONBLOCK as the application set it.
  static var nonblocking: Self { Self(rawValue: 1 << 0) }
  /// The peer's FIN has arrived.
  static var peerFinished: Self { Self(rawValue: 1 << 1) }
  /// shutdown(SHUT_RD).
  static var readShut: Self { Self(rawValue: 1 << 2) }
  /// shutdown(SHUT_WR).
  static var writeShut: Self { Self(rawValue: 1 << 3) }
  /// A write found too little room; the next room is an edge.
  static var wantsRoom: Self { Self(rawValue: 1 << 4) }
  /// In the channel's list of sockets that wait for send chunks.
  static var starved: Self { Self(rawValue: 1 << 5) }
  /// connect() has told the application that it succeeded; from now on it answers EISCONN. Or the application has
  /// ended the attempt.
  static var connectReported: Self { Self(rawValue: 1 << 6) }
  /// The connection was open once: failing since then is not a failed connect().
  static var wasConnected: Self { Self(rawValue: 1 << 7) }
  /// An option went to the kernel's socket: it is not as new, and cannot be pooled.
  static var touched: Self { Self(rawValue: 1 << 8) }
  /// Something only the kernel can do was asked for: connect() goes to the kernel.
  static var kernelOnly: Self { Self(rawValue: 1 << 9) }
  /// The descriptor is a duplicate of the placeholder (accepted), not a socket of its own.
  static var placeholder: Self { Self(rawValue: 1 << 10) }
  /// bind() gave it an address.
  static var bound: Self { Self(rawValue: 1 << 11) }
  /// SO_LINGER is on.
  static var linger: Self { Self(rawValue: 1 << 12) }
  /// Something only the kernel can do was asked for: a listener stays the kernel's alone.
  static var kernelListener: Self { Self(rawValue: 1 << 13) }
  /// In the channel's list of bytes read and not reported.
  static var reportListed: Self { Self(rawValue: 1 << 14) }
  /// Was being connected when it failed: the next connect() may try anew.
  static var connectFailed: Self { Self(rawValue: 1 << 15) }

  /// The connection is, or is about to be, the kernel's: whoever uses it fetches the kernel's socket.
  static var moving: Self { Self(rawValue: 1 << 16) }
  /// The engine has said so.
  static var moved: Self { Self(rawValue: 1 << 17) }

  // Several at once.

  /// What wants no room, or wants it already.
  static var wantsRoomOrMoved: Self { wantsRoom.union(moved) }
  /// What waits for no chunk, or waits already.
  static var starvedOrMoved: Self { starved.union(moved) }
  /// What the engine has given up.
  static var movedAway: Self { moving.union(moved) }

  /// What an accepted connection begins with.
  static var accepted: Self { placeholder.union(wasConnected).union(connectReported) }
  /// Both sides have finished.
  static var bothFinished: Self { peerFinished.union(writeShut) }
  /// Nothing can be sent or received any more.
  static var bothShut: Self { readShut.union(writeShut) }
  /// The kernel's socket is not as new.
  static var usedInKernel: Self { touched.union(bound) }
  /// What does not outlive a connection when its socket is connected again.
  static var ofOneConnection: Self {
    bothShut.union(peerFinished).union(wantsRoom).union(connectReported).union(wasConnected)
      .union(reportListed).union(connectFailed)
  }
}

/// A socket of the application: undecided, listening, or carried by an engine.
///
/// Protected by the lock of its channel, or by its own as long as it has none; `readinessWord` may
/// be read without. The first words stand at fixed offsets.
struct Socket {
  fileprivate var lockWord: UInt32 = 0
  fileprivate var readinessWord: UInt32 = 0
  fileprivate var waitersWord: UInt32 = 0
  fileprivate var onlyWaiterWord: UInt32 = 0
  /// Readiness: the first epoll link, 0 for none.
  var firstLink: UInt32 = 0

  var flags = SocketFlags()
  var state = SocketState.free
  var isIPv6 = false
  var error: UInt16 = 0
  /// The channel, -1 for none. Once set it stays until the socket is closed, unless a connect()
  /// failed and is tried again.
  var channel: Int32 = -1
  var slot: UInt32 = 0
  /// Descriptors that stand for it.
  var references: UInt32 = 0
  /// `Process.forks` when it became a connection: after later ones it may be another process's, too.
  var forks: UInt32 = 0
  /// The record in the table of listeners, for a listening or queued socket.
  var listener: Int32 = -1
  /// Next free socket, next in an accept queue.
  var next: UInt32 = .max
  /// Next in the list of sockets that wait for send chunks, or of those that have moved.
  var nextStarved: UInt32 = .max

  var blockedCalls = BlockedCalls()
  var received = ReceiveQueue()
  /// Bytes read and not yet reported to the engine.
  var unreported: UInt32 = 0
  /// Bytes that the engine has sent of those unacknowledged, when it last said so.
  var inFlight: UInt32 = 0
  /// Most bytes that may be unacknowledged.
  var sendLimit: UInt32 = Socket.defaultSendLimit

  var maximumSegmentSize: UInt16 = 0
  var localPort: UInt16 = 0
  var remotePort: UInt16 = 0
  var localHigh: UInt64 = 0
  var localLow: UInt64 = 0
  var remoteHigh: UInt64 = 0
  var remoteLow: UInt64 = 0

  /// SO_RCVTIMEO and SO_SNDTIMEO, nanoseconds; 0 for none, `Socket.noTime` for not waiting at all.
  var receiveTimeout: UInt64 = 0
  var sendTimeout: UInt64 = 0
  /// As SO_LINGER had it, also when that is off.
  var lingerSeconds: Int32 = 0
  /// F_SETOWN: who gets SIGURG; 0 for nobody.
  var owner: Int32 = 0
  var urgent = UrgentMark()
  /// SO_COOKIE; 0 until someone asks.
  var cookie: UInt64 = 0
  /// For `SocketOptions`: which were set, and which of those that can be on or off are on.
  var optionMarks: UInt64 = 0
  var optionSwitches: UInt64 = 0

  /// A time-out that is over at once: Linux takes a negative one for that.
  static var noTime: UInt64 { 1 }
  /// Bytes of unacknowledged data a connection may have, unless SO_SNDBUF says otherwise.
  static var defaultSendLimit: UInt32 { 1 << 20 }
}

typealias SocketPointer = UnsafeMutablePointer<Socket>

extension UnsafeMutablePointer<Socket> {
  /// Bytes that have to be there before a socket is readable: SO_RCVLOWAT. Never more than engines
  /// certainly keep for a connection: Linux too calls a socket readable whose window is used up.
  @inline(__always)
  var receiveLowWater: UInt32 {
    guard let low = options.value(KeptOption(FS_OPTION_RCVLOWAT)) else { return 1 }
    return min(UInt32(max(low, 1)), 1 << 17)
  }

  /// The lock that protects the socket while it has no channel.
  @inline(__always)
  var ownLock: SharedWord {
    UnsafeMutableRawPointer(self).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// The epoll bits that hold now.
  @inline(__always)
  var readiness: SharedWord { ownLock + 1 }

  /// Readiness: threads that wait for the socket.
  @inline(__always)
  var waiters: SharedWord { ownLock + 2 }

  /// Readiness: if one thread waits, and came when none did, its waiter; else 0.
  @inline(__always)
  var onlyWaiter: SharedWord { ownLock + 3 }
}
