import CShim
import Synchronization

/// The sockets of the process: a slab that grows by a watermark, with a free list. Channels keep
/// some of the free ones for themselves.
enum SocketTable {
  /// Bytes of one place in the slab: whole cache lines.
  static var stride: Int { (MemoryLayout<Socket>.stride + 63) & ~63 }

  @inline(__always)
  static func at(_ index: UInt32) -> SocketPointer {
    (process.pointee.sockets + Int(index) * stride).assumingMemoryBound(to: Socket.self)
  }

  @inline(__always)
  static func index(of socket: SocketPointer) -> UInt32 {
    UInt32((UnsafeMutableRawPointer(socket) - process.pointee.sockets) / stride)
  }

  /// Takes a free socket, as new; nil when all are in use.
  static func take() -> UInt32? {
    let lock = processWord(.sockets)
    guard Lock.acquire(lock) else { return nil }
    defer { Lock.release(lock) }
    let index = process.pointee.firstFreeSocket
    if index != .max {
      process.pointee.firstFreeSocket = at(index).pointee.next
      return index
    }
    let fresh = process.pointee.socketWatermark
    guard fresh < Limits.sockets else { return nil }
    process.pointee.socketWatermark = fresh + 1
    return fresh
  }

  /// Gives a socket back.
  static func giveBack(_ index: UInt32) {
    let lock = processWord(.sockets)
    guard Lock.acquire(lock) else { return }
    at(index).pointee.next = process.pointee.firstFreeSocket
    process.pointee.firstFreeSocket = index
    Lock.release(lock)
  }

  /// Makes a place in the slab a socket without history. The lock words are left alone: someone may
  /// still be on his way out of the lock.
  @inline(__always)
  static func reset(_ socket: SocketPointer) {
    socket.pointee.firstLink = 0
    socket.pointee.flags = SocketFlags()
    socket.pointee.error = 0
    socket.pointee.channel = -1
    socket.pointee.references = 1
    socket.pointee.forks = 0
    socket.pointee.listener = -1
    socket.pointee.next = .max
    socket.pointee.nextStarved = .max
    socket.pointee.blockedCalls = BlockedCalls()
    socket.pointee.received = ReceiveQueue()
    socket.pointee.unreported = 0
    socket.pointee.sendLimit = Socket.defaultSendLimit
    socket.options.removeAll()
    socket.pointee.localPort = 0
    socket.pointee.remotePort = 0
    socket.pointee.localHigh = 0
    socket.pointee.localLow = 0
    socket.pointee.receiveTimeout = 0
    socket.pointee.sendTimeout = 0
    socket.pointee.lingerSeconds = 0
    socket.pointee.cookie = 0
    socket.pointee.owner = 0
    socket.pointee.urgent.state = .none
    socket.pointee.inFlight = 0
  }

  /// Takes the lock of a socket, whatever it is at the moment. False if the calling thread holds it
  /// already.
  @inline(__always)
  static func lock(_ socket: SocketPointer) -> Bool {
    while true {
      let channel = socket.pointee.channel
      let word = lockWord(socket, channel)
      guard Lock.acquire(word) else { return false }
      if socket.pointee.channel == channel { return true }
      Lock.release(word)
    }
  }

  /// Gives the lock of a socket back. Its channel must not have changed since `lock`.
  @inline(__always)
  static func unlock(_ socket: SocketPointer) {
    Lock.release(lockWord(socket, socket.pointee.channel))
  }

  @inline(__always)
  static func lockWord(_ socket: SocketPointer, _ channel: Int32) -> SharedWord {
    channel < 0 ? socket.ownLock : ChannelTable.at(channel).lockWord
  }
}

// What the readiness half asks for.

/// The socket of a number.
@inline(__always)
func socketAt(_ index: Int32) -> SocketPointer { SocketTable.at(UInt32(index)) }

/// Threads that wait for a socket; the readiness half's.
func socketWaiters(_ index: Int32) -> SharedWord { socketAt(index).waiters }

/// The channel of a socket, or -1.
@inline(__always)
func channelOf(_ index: Int32) -> Int32 { socketAt(index).pointee.channel }

/// The epoll bits that hold now, as tcp_poll of Linux computes them. Takes no lock.
@inline(__always)
func socketReadiness(_ index: Int32) -> UInt32 {
  let socket = socketAt(index)
  switch socket.pointee.state {
  case .listening:
    return listenerReadiness(index, -1)
  case .undecided:
    return Ready.output | Ready.hangUp
  case .free:
    return 0
  case .connecting, .queued, .connected, .failed:
    let channel = socket.pointee.channel
    if channel >= 0, !channelIsOpen(channel) { return Ready.dead | Ready.error }
    return socket.readiness.pointee.load(ordering: .acquiring)
  }
}
