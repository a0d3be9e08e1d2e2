import CShim
import Synchronization

/// What the functions for the interposers answer when libc's function shall be called.
@inline(__always)
var pass: Int64 { Int64.min / 2 }

@inline(__always)
func failure(_ error: Int32) -> Int64 { -Int64(error) }

/// Calls `body` with the connection that a descriptor stands for, its channel locked.
///
/// A descriptor of another kind passes to the kernel, and so does a connection that was inherited by a
/// fork, after it was made the kernel's. In a signal handler that interrupted its own thread inside the channel, the answer is
/// EAGAIN.
@inline(__always)
func withConnection(_ fd: Int32, _ body: (SocketPointer, ChannelPointer) -> Int64) -> Int64 {
  while true {
    let entry = DescriptorEntry.of(fd)
    guard entry.kind == .connection else {
      return entry.kind == .internal ? failure(EBADF) : pass
    }
    let socket = SocketTable.at(entry.index)
    let number = socket.pointee.channel
    // Closed, or connected anew, between the two loads.
    guard number >= 0 else { continue }
    let channel = ChannelTable.at(number)
    if KernelSocket.isNeeded(socket, channel) {
      let result = KernelSocket.take(fd, entry)
      if result != 0 { return result }
      continue
    }
    guard Lock.acquire(channel.lockWord) else { return failure(EAGAIN) }
    guard DescriptorEntry.of(fd) == entry, socket.pointee.channel == number,
      !socket.pointee.flags.contains(.moving)
    else {
      Lock.release(channel.lockWord)
      continue
    }
    if socket.mayBeShared {
      // A child may have taken it a moment ago, and what it read is not to be read here.
      channel.drain()
      if socket.pointee.flags.contains(.moving) {
        Lock.release(channel.lockWord)
        continue
      }
    }
    let result = body(socket, channel)
    Lock.release(channel.lockWord)
    return result
  }
}

/// Calls `body` with the socket of any kind that a descriptor stands for, locked.
func withSocket(_ fd: Int32, _ body: (SocketPointer, DescriptorEntry) -> Int64) -> Int64 {
  while true {
    let entry = DescriptorEntry.of(fd)
    guard entry.isSocket else { return entry.kind == .internal ? failure(EBADF) : pass }
    let socket = SocketTable.at(entry.index)
    let channel = socket.pointee.channel
    let word = SocketTable.lockWord(socket, channel)
    guard Lock.acquire(word) else { return failure(EAGAIN) }
    guard DescriptorEntry.of(fd) == entry, socket.pointee.channel == channel else {
      Lock.release(word)
      continue
    }
    let result = body(socket, entry)
    // The body may have moved the socket to another channel, or given it back.
    Lock.release(word)
    return result
  }
}

extension UnsafeMutablePointer<Socket> {
  @inline(__always)
  var index: UInt32 { SocketTable.index(of: self) }

  @inline(__always)
  var isNonblocking: Bool { pointee.flags.contains(.nonblocking) }

  /// SO_ERROR: the error, which is thereby told.
  func takeError() -> UInt16 {
    let error = pointee.error
    if error != 0 {
      pointee.error = 0
      updateReadiness()
    }
    return error
  }

  /// Whether a child that was forked when it was open may have it.
  @inline(__always)
  var mayBeShared: Bool { pointee.forks != process.pointee.forks }

  /// Whether its channel, if it has one, is this process's own and not a parent's.
  var isOurs: Bool {
    let channel = pointee.channel
    return channel < 0
      || ChannelTable.at(channel).pointee.processGeneration == process.pointee.generation
  }
}

/// The moment at which a call gives up that may wait so many nanoseconds; 0 is for ever.
@inline(__always)
func deadline(after timeout: UInt64) -> UInt64 {
  timeout == 0 ? .max : monotonicNow() &+ timeout
}

/// A place in the memory that the application gave for its data.
struct VectorCursor {
  private var vector: UnsafePointer<iovec>
  private var vectorsLeft: Int
  private var offset = 0
  /// Bytes from here to the end.
  private(set) var bytesLeft: Int
  /// Whether every length is one: not more than half of the address space, as import_iovec of Linux
  /// wants it.
  let isValid: Bool

  @inline(__always)
  init(_ vectors: UnsafePointer<iovec>, _ count: Int) {
    vector = vectors
    vectorsLeft = count
    bytesLeft = 0
    var signs = 0
    for position in 0..<count {
      let length = Int(vectors[position].iov_len)
      bytesLeft &+= length
      signs |= length
    }
    isValid = signs >= 0 && bytesLeft >= 0
  }

  /// Copies bytes to or from here, and goes on behind them. There are as many.
  @inline(__always)
  mutating func advance(_ count: Int, _ copy: (UnsafeMutableRawPointer, _ done: Int, Int) -> Void) {
    var done = 0
    while done < count, vectorsLeft > 0 {
      let length = Int(vector.pointee.iov_len) - offset
      let part = min(length, count - done)
      if part > 0, let base = vector.pointee.iov_base { copy(base + offset, done, part) }
      done += part
      if part == length {
        vector += 1
        vectorsLeft -= 1
        offset = 0
      } else {
        offset += part
      }
    }
    bytesLeft -= count
  }
}
