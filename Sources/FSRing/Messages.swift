/// What the application asks of its engine. 64 bytes, one cache line.
///
/// The engine copies a command out of the shared memory before it looks at it, and checks every
/// field: an impossible one closes the channel (`ChannelViolation` names the reason).
///
/// Here and in `Event`, an address is its 16 bytes in memory (network) order, loaded as two native
/// 64-bit words; an IPv4 address a.b.c.d is stored mapped, as ::ffff:a.b.c.d. Ports are in host order.
public struct Command: BitwiseCopyable {
  /// What to do; a `CommandKind`.
  public var kind: UInt8
  /// `CommandFlags`.
  public var flags: UInt8
  /// For `send`: offset of the first byte in the chunk.
  public var offset: UInt16
  /// The connection; for `pause` and `resume` 0.
  public var slot: UInt32
  /// For `send`: the send chunk.
  public var chunk: UInt32
  /// For `send`: bytes in the chunk. For `consume` and `close`: received bytes the application has
  /// taken since it last said so. For `option`: level << 16 | name, the numbers of setsockopt(2).
  /// For `pause` and `resume`: the listener number. For `inquire`: the place of the report, less than
  /// `ChannelHeader.reportCount`.
  public var length: UInt32
  /// For `option`: the value. For `inquire`: what the engine stores into the sequence word when the
  /// report is complete.
  public var value: Int32
  /// Port of `local`; 0 for any.
  public var localPort: UInt16
  /// Port of `remote`.
  public var remotePort: UInt16
  /// For `connect`: source address words, zero for any.
  public var localHigh: UInt64
  /// See `localHigh`.
  public var localLow: UInt64
  /// For `connect`: destination address words.
  public var remoteHigh: UInt64
  /// See `remoteHigh`.
  public var remoteLow: UInt64
  @usableFromInline
  var reserved: UInt64

  /// Bytes of a command.
  public static let size = 64

  /// Creates a command; fields that the kind does not use stay zero.
  @inlinable
  public init(_ kind: CommandKind, slot: UInt32 = 0, flags: UInt8 = 0) {
    self.init(rawKind: kind.rawValue, slot: slot, flags: flags)
  }

  @inlinable
  init(rawKind: UInt8, slot: UInt32, flags: UInt8) {
    kind = rawKind
    self.flags = flags
    offset = 0
    self.slot = slot
    chunk = 0
    length = 0
    value = 0
    localPort = 0
    remotePort = 0
    localHigh = 0
    localLow = 0
    remoteHigh = 0
    remoteLow = 0
    reserved = 0
  }
}

/// The kinds of `Command`. Zero is none, so that cleared memory is never a command.
public enum CommandKind: UInt8, Sendable {
  /// Open a connection on a slot of the application's half.
  case connect = 1
  /// Queue the bytes of a chunk; the chunk is the engine's until it is acknowledged.
  case send
  /// The application has read `length` received bytes: widen the window.
  case consume
  /// shutdown(2): `CommandFlags.shutRead`, `.shutWrite`.
  case shutdown
  /// The application is done with the slot: FIN after what is queued, or RST with `.reset` or when
  /// received bytes were left unread. Afterwards the engine posts for the slot only `progress` with
  /// `acknowledged`, until all bytes sent on it are covered, and then `EventKind.released` for a
  /// slot of the application's half. Nobody is woken for these.
  case close
  /// setsockopt(2) with an integer.
  case option
  /// No further connections of this listener for this channel, until `resume`.
  case pause
  /// Connections of this listener again; with `CommandFlags.once` one at a time.
  case resume
  /// An accepted connection that no one took: give it to another acceptor. The slot is the
  /// engine's again.
  case handBack
  /// The application is about to sleep because it has no room to send (slot 0): wake it at the next
  /// event, also if that only acknowledges bytes. Otherwise nobody is woken for such an event.
  case wantSpace
  /// Write a `ConnectionReport` into a place of the header page, store `value` into its sequence
  /// word, and wake whoever sleeps. No event is posted. A place has one inquiry at a time.
  case inquire
}

/// Bits of `Command.flags`.
public enum CommandFlags {
  /// With `send`: more follows at once, a short segment may wait (MSG_MORE).
  public static let more: UInt8 = 1
  /// With `close`: abort with RST (SO_LINGER with zero timeout).
  public static let reset: UInt8 = 2
  /// With `shutdown`.
  public static let shutRead: UInt8 = 4
  /// With `shutdown`.
  public static let shutWrite: UInt8 = 8
  /// With `send`: the last byte is urgent (MSG_OOB).
  public static let urgent: UInt8 = 16
  /// With `resume`: pause again with the next connection, if the listener has other acceptors. The application is
  /// at work on one connection until it asks for the next; `EventFlags.paused` tells it to ask.
  public static let once: UInt8 = 32
}

/// What the engine tells the application. 64 bytes, one cache line.
public struct Event: BitwiseCopyable {
  /// What happened; an `EventKind`.
  public var kind: UInt8
  /// `EventFlags`.
  public var flags: UInt8
  /// With `.failed`: the errno value (SO_ERROR).
  public var error: UInt16
  /// The connection.
  public var slot: UInt32
  /// With `.data`: the receive chunk.
  public var chunk: UInt32
  /// With `.data`: first byte in the chunk.
  public var offset: UInt16
  /// With `.data`: bytes.
  public var length: UInt16
  /// Sent bytes newly acknowledged, since the last event that said so; their chunks, in the order
  /// in which they were sent, are the application's again when all of their bytes are.
  public var acknowledged: UInt32
  /// For `accepted`: the listener number.
  public var listener: UInt32
  /// Local port, with `accepted` and `.connected`.
  public var localPort: UInt16
  /// Remote port, with `accepted`.
  public var remotePort: UInt16
  /// Send maximum segment size (TCP_MAXSEG), with `accepted` and `.connected`.
  public var maximumSegmentSize: UInt16
  @usableFromInline
  var reserved: UInt16
  /// Local address words, with `accepted` and `.connected`.
  public var localHigh: UInt64
  /// See `localHigh`.
  public var localLow: UInt64
  /// Remote address words, with `accepted`; `progress` has other facts in their place.
  public var remoteHigh: UInt64
  /// See `remoteHigh`.
  public var remoteLow: UInt64

  /// Bytes of an event.
  public static let size = 64

  /// Creates an event; fields that the kind does not use stay zero.
  @inlinable
  public init(_ kind: EventKind, slot: UInt32) {
    self.init(rawKind: kind.rawValue, slot: slot)
  }

  @inlinable
  init(rawKind: UInt8, slot: UInt32) {
    kind = rawKind
    flags = 0
    error = 0
    self.slot = slot
    chunk = 0
    offset = 0
    length = 0
    acknowledged = 0
    listener = 0
    localPort = 0
    remotePort = 0
    maximumSegmentSize = 0
    reserved = 0
    localHigh = 0
    localLow = 0
    remoteHigh = 0
    remoteLow = 0
  }
}

/// What `progress` tells in the place of the remote address.
extension Event {
  /// Bytes sent, and acknowledged neither by this nor by an earlier event: what the application has
  /// queued beyond them has not been sent. On a connection with TCP_NOTSENT_LOWAT the engine posts
  /// an event also when less than half of the mark is unsent.
  public var inFlight: UInt32 {
    get { UInt32(truncatingIfNeeded: remoteHigh) }
    set { remoteHigh = remoteHigh & ~0xffff_ffff | UInt64(newValue) }
  }

  /// Bytes that the congestion window allows in flight. A send buffer of twice as many keeps the
  /// connection busy.
  public var congestionWindow: UInt32 {
    get { UInt32(truncatingIfNeeded: remoteHigh >> 32) }
    set { remoteHigh = remoteHigh & 0xffff_ffff | UInt64(newValue) << 32 }
  }

  /// With `.urgent`: how far the urgent byte is ahead of the byte after all data posted so far, the
  /// data of this event included. -1 is the last byte of this event's data; 0 the next byte that
  /// will come. The byte itself is in the stream like any other.
  public var urgentDistance: Int32 {
    get { Int32(truncatingIfNeeded: Int64(bitPattern: remoteLow)) }
    set { remoteLow = UInt64(bitPattern: Int64(newValue)) }
  }
}

/// The kinds of `Event`. Zero is none.
public enum EventKind: UInt8, Sendable {
  /// A connection of `listener` is established on a slot of the engine's half. May carry data and
  /// flags as `progress` does.
  case accepted = 1
  /// Something happened on a connection: see the flags and `acknowledged`.
  case progress
  /// The engine has forgotten a slot of the application's half: it may be used again.
  case released
}

/// Bits of `Event.flags`.
public enum EventFlags {
  /// `chunk`, `offset` and `length` hold received bytes.
  public static let data: UInt8 = 1
  /// An active open has completed.
  public static let connected: UInt8 = 2
  /// The peer's FIN has arrived, after all data posted before.
  public static let peerFinished: UInt8 = 4
  /// The connection is dead; `error` says why. Nothing but `released` follows.
  public static let failed: UInt8 = 8
  /// The peer has announced urgent data, or more of it: `urgentDistance` says where. Only with
  /// `progress`.
  public static let urgent: UInt8 = 16
  /// The connection is the kernel's: the socket is to be had with `ControlKind.adopt`. What was posted
  /// and not consumed, with `CommandKind.consume`, can be read there. `acknowledged` has all bytes
  /// that have been taken over; of what was sent later nothing is, nor acknowledged: it has to be
  /// written to the kernel's socket. Nothing but `released`, after `close`, follows.
  public static let moved: UInt8 = 32
  /// No further connections of the listener for this channel, as after `CommandKind.pause`. Only with `accepted`.
  public static let paused: UInt8 = 64
}
