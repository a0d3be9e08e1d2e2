/// One message of the control socket, in both directions: 128 bytes, SOCK_SEQPACKET.
///
/// An application (the shim) sends requests and gets one reply each, with the same `request`
/// number; the daemon may also send `invite` unasked (request 0). File descriptors travel beside a
/// message as SCM_RIGHTS. The command-line tool uses the same messages; where its reply carries
/// text, the UTF-8 bytes follow the 128 in the same packet.
public struct ControlMessage: BitwiseCopyable {
  /// `ControlMessage.magic`.
  public var magic: UInt32
  /// `ControlMessage.currentVersion`.
  public var version: UInt16
  /// A `ControlKind`.
  public var kind: UInt16
  /// Number of the request, repeated in its reply.
  public var request: UInt32
  /// In a reply: 0, or the errno value of what went wrong.
  public var status: Int32
  /// The engine: `channel` reply, `invite`; that of the connection's channel: `adopt`, `surrender`.
  public var engine: UInt32
  /// The channel, numbered by the daemon within one control connection: `channel` reply, `join`.
  public var channel: UInt32
  /// The listener number, the daemon's: `listen` reply, `join`, `unlisten`, `invite`.
  public var listener: UInt32
  /// CPU on which the asking thread runs (`channel`) and, in the reply, on which the engine does;
  /// backlog (`listen`); destination port (`route`).
  public var argument: UInt32
  /// `ControlFlags`.
  public var flags: UInt32
  /// Generation of the routes that the answer is from: `route` reply.
  public var routeGeneration: UInt32
  /// Destination of a `route` request; the peer of the connection that `adopt`, `surrender` and `disown`
  /// are about.
  public var addressHigh: UInt64
  /// See `addressHigh`.
  public var addressLow: UInt64
  /// Geometry of the memory in a `channel` reply.
  public var geometry: ChannelGeometry
  /// Port at this host's end of the connection: `adopt`, `surrender`, `disown`. The processor to which the
  /// thread shall be bound: `channel` reply with `ControlFlags.pin`.
  public var localPort: UInt16
  /// Port at the peer's end.
  public var remotePort: UInt16
  /// Address at this host's end; of a `route` request: to which the socket is bound.
  public var localHigh: UInt64
  /// See `localHigh`.
  public var localLow: UInt64
  private var reserved: (UInt64, UInt64, UInt64, UInt64)

  /// Bytes of a message.
  public static let size = 128
  /// "FSCM".
  public static let magic: UInt32 = 0x4653_434d
  /// Version of the ABI: messages and channel layout.
  public static let currentVersion: UInt16 = 1

  /// Creates a message; fields that the kind does not use stay zero.
  public init(_ kind: ControlKind, request: UInt32) {
    magic = Self.magic
    version = Self.currentVersion
    self.kind = kind.rawValue
    self.request = request
    status = 0
    engine = 0
    channel = 0
    listener = 0
    argument = 0
    flags = 0
    routeGeneration = 0
    addressHigh = 0
    addressLow = 0
    geometry = ChannelGeometry(
      commandCapacity: 0, eventCapacity: 0, receiveChunkCount: 0, sendChunkCount: 0, slotCount: 0)
    localPort = 0
    remotePort = 0
    localHigh = 0
    localLow = 0
    reserved = (0, 0, 0, 0)
  }
}

/// The kinds of `ControlMessage`.
public enum ControlKind: UInt16, Sendable {
  /// A process introduces itself. Reply: `status`.
  case hello = 1
  /// A channel for the calling thread, which runs on CPU `argument`, on the engine of that core;
  /// with `ControlFlags.exactEngine`, on engine `engine`. Reply: `engine`, `channel`, `geometry`,
  /// and three descriptors: the memory, the eventfd that wakes the application, the eventfd that
  /// wakes the engine (doorbell).
  case channel
  /// A listening socket (its descriptor beside the message), backlog `argument`. The daemon reads
  /// its address and SO_COOKIE from the descriptor itself. May be repeated, also by another
  /// process that inherited the socket. Reply: `listener`, or `status` EOPNOTSUPP when no managed
  /// interface has its address (it then stays the kernel's alone).
  case listen
  /// Connections of `listener` shall come to `channel`. May be repeated.
  case join
  /// This process is done with `listener`; its channels are no longer acceptors of it. When the
  /// last process is, the listener is gone, and connections that no one took are reset.
  case unlisten
  /// Shall a connection to `address` and port `argument`, from `local` if that is not zero, be accelerated? Reply:
  /// `ControlFlags.accelerated`, `routeGeneration`.
  case route
  /// The process ends in good order: connections still open are closed, not reset.
  case goodbye
  /// From the daemon: engine `engine` has connections of `listener` and no acceptor; open a channel
  /// there (`exactEngine`) and join.
  case invite
  /// Command line: JSON statistics.
  case statistics
  /// Command line: JSON status.
  case status
  /// Command line: stop the daemon. The reply comes when everything is undone.
  case stop
  /// The process is about to fork(2), and has connections that its child inherits. Reply: one
  /// descriptor, the child's own connection to the daemon, introduced already. While anyone has it
  /// open there counts as someone who may hold the connections which the process has now: the parent
  /// closes its copy after the fork, the child uses it for whatever it has to say to the daemon, and
  /// it closes by itself (close-on-exec) when the child runs another program, or ends.
  case fork
  /// The connection with these addresses and ports, which the process opened, accepted or inherited,
  /// shall be the kernel's from now on, whoever uses it. Reply: one descriptor, the kernel's socket
  /// for it, on which everything that was not read can be read and what was not sent is sent;
  /// options are the kernel's defaults. Asked for once per process: then the daemon may forget it.
  /// `status` ENOENT: the process has no such connection, or it is over. EINPROGRESS: it is being
  /// opened. EOPNOTSUPP: it is within this host, and nobody has its other end yet. Another value: the
  /// kernel would not have it, and it has been reset.
  ///
  /// The owner's engine posts `EventFlags.moved`, also to a process that asked for it itself.
  case adopt
  /// The owner closes a connection that may have been inherited. Reply: `status` 0, others hold it: it
  /// is the kernel's now, and goes on until they have closed it; with a descriptor, the kernel's socket,
  /// if it was so already and the engine may not have taken all that was sent. ESRCH: nobody else
  /// has it, and nothing has happened: close it as any other. In both cases the slot must still be
  /// closed (`CommandKind.close`).
  case surrender
  /// A process closes a connection that it inherited and never asked for; also the owner one
  /// that has moved and that it never asked for. Both ports zero: all that it inherited.
  case disown
}

/// Bits of `ControlMessage.flags`.
public enum ControlFlags {
  /// `route` reply: the destination is behind a managed interface.
  public static let accelerated: UInt32 = 1
  /// `channel` request: on this very engine.
  public static let exactEngine: UInt32 = 2
  /// `adopt`, `surrender`: the socket is of AF_INET6, also if the addresses are IPv4's.
  public static let ipv6Socket: UInt32 = 4
  /// `listen` and `route` requests: the process wants connections within this host, too, to be
  /// accelerated (FSD_LOOPBACK).
  public static let loopback: UInt32 = 8
  /// `channel` request: the thread wants to be bound to a processor (FSD_PIN), and shall have an engine by
  /// that. In the reply: it shall bind itself to `localPort`.
  public static let pin: UInt32 = 16
}
