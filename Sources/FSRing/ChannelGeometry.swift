/// The sizes of one channel's shared memory, and where each part of it begins.
///
/// A channel is a sealed memfd mapped by one engine and one application process. From offset 0:
/// a header page (`ChannelHeader`), the command ring (application to engine), the event ring
/// (engine to application), the receive chunks (written by the engine) and the send chunks (written
/// by the application). Each side keeps its own copy of the geometry, which the control socket
/// carries; neither believes the copy in the memory.
public struct ChannelGeometry: BitwiseCopyable, Equatable, Sendable {
  /// Commands the command ring holds; a power of two.
  public var commandCapacity: UInt32
  /// Events the event ring holds; a power of two.
  public var eventCapacity: UInt32
  /// Chunks of `receiveChunkSize` bytes.
  public var receiveChunkCount: UInt32
  /// Chunks of `sendChunkSize` bytes.
  public var sendChunkCount: UInt32
  /// Connections the channel can hold. The lower half are numbered by the engine (accepted
  /// connections), the upper half by the application (connecting ones).
  public var slotCount: UInt32

  /// Bytes of one receive chunk: one segment of a 1500-byte MTU, with room for alignment.
  public static let receiveChunkSize = 2048
  /// Bytes of one send chunk.
  public static let sendChunkSize = 4096
  /// Bytes of the header.
  public static let headerSize = 4096

  /// What the daemon uses. The memory is sparse: only what is touched costs anything. One process can hold all
  /// connections that an engine can have, accepted or opened.
  public static let standard = ChannelGeometry(
    commandCapacity: 4096, eventCapacity: 8192, receiveChunkCount: 8192, sendChunkCount: 4096,
    slotCount: 262_144)

  /// Creates a geometry; `isValid` says whether it can be used.
  public init(
    commandCapacity: UInt32, eventCapacity: UInt32, receiveChunkCount: UInt32,
    sendChunkCount: UInt32, slotCount: UInt32
  ) {
    self.commandCapacity = commandCapacity
    self.eventCapacity = eventCapacity
    self.receiveChunkCount = receiveChunkCount
    self.sendChunkCount = sendChunkCount
    self.slotCount = slotCount
  }

  /// Whether every size is in its bounds; checked before anything is computed from them.
  public var isValid: Bool {
    Self.isPowerOfTwo(commandCapacity) && Self.isPowerOfTwo(eventCapacity)
      && commandCapacity >= 64 && commandCapacity <= 1 << 20
      && eventCapacity >= 64 && eventCapacity <= 1 << 20
      && receiveChunkCount > 0 && receiveChunkCount <= 1 << 20
      && sendChunkCount > 0 && sendChunkCount <= 1 << 20
      && slotCount >= 2 && slotCount <= 1 << 20 && slotCount & 1 == 0
  }

  private static func isPowerOfTwo(_ value: UInt32) -> Bool {
    value != 0 && value & (value - 1) == 0
  }

  /// Byte offset of the command ring.
  public var commandOffset: Int { Self.headerSize }
  /// Byte offset of the event ring.
  public var eventOffset: Int { commandOffset + Int(commandCapacity) * Command.size }
  /// Byte offset of the first receive chunk.
  public var receiveOffset: Int { eventOffset + Int(eventCapacity) * Event.size }
  /// Byte offset of the first send chunk.
  public var sendOffset: Int { receiveOffset + Int(receiveChunkCount) * Self.receiveChunkSize }
  /// Bytes of the whole mapping.
  public var byteCount: Int { sendOffset + Int(sendChunkCount) * Self.sendChunkSize }
  /// The first slot that the application numbers.
  public var firstConnectSlot: UInt32 { slotCount / 2 }
}
