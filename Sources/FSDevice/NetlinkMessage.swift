import CXDP

/// A netlink message in the making: header, fixed part, attributes.
struct NetlinkRequest {
  private(set) var bytes: [UInt8]

  /// Begins a message with its fixed part, `struct ifinfomsg` and its like.
  init(type: Int32, flags: Int32, fixedPart: [UInt8]) {
    bytes = [0, 0, 0, 0]
    append(UInt16(type))
    append(UInt16(NLM_F_REQUEST | flags))
    append(UInt32(0))
    append(UInt32(0))
    bytes += fixedPart
    pad()
  }

  /// Adds an attribute.
  mutating func attribute(_ type: some BinaryInteger, _ value: [UInt8]) {
    append(UInt16(4 + value.count))
    append(UInt16(type))
    bytes += value
    pad()
  }

  /// The message as it goes out.
  func finished(sequence: UInt32) -> [UInt8] {
    var message = bytes
    message.replaceSubrange(0..<4, with: UInt32(bytes.count).nativeBytes)
    message.replaceSubrange(8..<12, with: sequence.nativeBytes)
    return message
  }

  private mutating func append(_ value: some FixedWidthInteger) { bytes += value.nativeBytes }

  private mutating func pad() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }
}

/// A received netlink message.
struct NetlinkMessage {
  /// RTM_…, NLMSG_…
  var type: Int32
  /// NLM_F_…
  var flags: Int32
  /// The number of the request that this answers.
  var sequence: UInt32
  /// What follows the header.
  var body: ByteView

  /// Splits what one recv() has returned; what is truncated is left out.
  static func split(_ bytes: ArraySlice<UInt8>) -> [NetlinkMessage] {
    var messages: [NetlinkMessage] = []
    var rest = bytes
    while rest.count >= 16 {
      let header = ByteView(bytes: rest)
      let length = Int(header.load(0, as: UInt32.self))
      guard length >= 16, length <= rest.count else { break }
      messages.append(
        NetlinkMessage(
          type: Int32(header.load(4, as: UInt16.self)),
          flags: Int32(header.load(6, as: UInt16.self)),
          sequence: header.load(8, as: UInt32.self),
          body: ByteView(bytes: rest.prefix(length).dropFirst(16))))
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return messages
  }

  /// The attributes behind a fixed part of this size, by type.
  func attributes(after fixedPart: Int) -> [Int32: ByteView] {
    body.attributes(from: fixedPart)
  }
}

/// Bytes of a message. Fields beyond the end read as zero: the kernel's headers have grown, and an
/// older kernel sends less.
struct ByteView {
  var bytes: ArraySlice<UInt8>

  var count: Int { bytes.count }

  /// A number in native byte order.
  func load<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type) -> Number {
    var value: Number = 0
    unsafe withUnsafeMutableBytes(of: &value) { memory in
      unsafe memory.copyBytes(from: bytes.dropFirst(offset).prefix(memory.count))
    }
    return value
  }

  /// Netlink attributes from an offset on, by type. Of equal ones the last.
  func attributes(from offset: Int) -> [Int32: ByteView] {
    var result: [Int32: ByteView] = [:]
    var rest = bytes.dropFirst((offset + 3) & ~3)
    while rest.count >= 4 {
      let header = ByteView(bytes: rest)
      let length = Int(header.load(0, as: UInt16.self))
      guard length >= 4, length <= rest.count else { break }
      let type = Int32(header.load(2, as: UInt16.self)) & 0x3fff
      result[type] = ByteView(bytes: rest.prefix(length).dropFirst(4))
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return result
  }

  /// A string, up to the zero that ends it.
  var text: String { String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
}

extension FixedWidthInteger {
  /// The bytes in memory order.
  var nativeBytes: [UInt8] {
    unsafe withUnsafeBytes(of: self) { unsafe Array($0) }
  }
}
