/// What an application did to its channel that no correct one does. The channel is closed and its
/// connections are reset; nobody else notices.
public enum ChannelViolation: UInt8, CaseIterable, Sendable {
  /// The command ring's tail claims more commands than the ring holds.
  case commandIndexImpossible
  /// The event ring's head has overtaken its tail.
  case eventIndexImpossible
  /// A command of no known kind.
  case unknownCommand
  /// A slot number beyond the channel's slots, or of the wrong half.
  case slotOutOfRange
  /// A command for a slot without connection.
  case slotNotOpen
  /// A connect on a slot that has a connection.
  case slotInUse
  /// A send chunk number beyond the channel's chunks.
  case chunkOutOfRange
  /// A send chunk that still holds unacknowledged bytes.
  case chunkInUse
  /// Bytes beyond the end of a send chunk, or none.
  case chunkRangeInvalid
  /// Bytes queued after the sending side was shut down.
  case sendAfterShutdown
  /// More bytes read than were received.
  case consumedTooMuch
  /// A listener that the channel has not joined.
  case listenerNotJoined
  /// A connection handed back that was never given, or already used.
  case handBackInvalid
  /// An inquiry whose report should stand where there is no place for one.
  case reportOutOfRange
}
