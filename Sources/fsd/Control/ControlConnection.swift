import CLinux
import FSRing
import FSStack
import Glibc

/// One connection of the control socket: a process with the shim, or the command line.
final class ControlConnection {
  /// A channel of the process, numbered by its position.
  struct ChannelEntry {
    var channel: Channel
    var id: ChannelID
    var engine: Int
    /// Its thread runs on another core than the engine.
    var remote: Bool
  }

  /// Who is at the other end, from the kernel (SO_PEERCRED).
  struct Peer: Equatable {
    var process: Int32
    var user: UInt32
  }

  /// Channels one process may have.
  static let channelLimit = 64

  let number: ProcessNumber
  let socket: Descriptor
  /// Of one that came with a fork, who has last spoken.
  var peer: Peer
  var token: UInt64 = 0
  /// It has said `hello`: it is an application.
  var isApplication = false
  /// It has said `goodbye`, and before that what it has read.
  var saidGoodbye = false
  var channels: [ChannelEntry] = []
  /// It came with a fork: its process may be any that has been given the descriptor.
  var isHeir = false
  /// Of its own connections, how many have become the kernel's.
  var handOvers: UInt64 = 0
  /// Whose connections it may have.
  var inheritances: [Inheritance] = []
  /// What of them it has closed.
  var disowned: Set<FlowAddress> = []
  /// The request that waits for the daemon's end.
  var stopRequest: UInt32?

  init(number: ProcessNumber, socket: Descriptor, peer: Peer) {
    self.number = number
    self.socket = socket
    self.peer = peer
  }

  /// Who is at the other end of a connected UNIX socket.
  static func peer(of socket: Int32) throws(SystemError) -> Peer {
    var credentials = ucred()
    var length = socklen_t(MemoryLayout<ucred>.size)
    guard unsafe getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else {
      throw SystemError("getsockopt(SO_PEERCRED)")
    }
    return Peer(process: credentials.pid, user: credentials.uid)
  }
}
