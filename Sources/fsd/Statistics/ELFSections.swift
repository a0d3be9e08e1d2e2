/// The sections of a 64-bit little-endian ELF file: where each is when the file is loaded. elf(5).
/// Nothing in the file is believed: what does not fit is not there.
struct ELFSections {
  private let file: BinaryFile
  private let headerOffset: UInt64
  private let headerCount: Int
  private let nameIndex: Int

  /// Bytes of a section header, Elf64_Shdr.
  private static let headerSize = 64

  init(_ file: BinaryFile) {
    self.file = file
    let header = file.read(at: 0, count: 64) ?? []
    // The magic number, ELFCLASS64, ELFDATA2LSB, and headers of the size that is known here.
    let isKnown =
      header.count == 64 && header[0..<6] == [0x7f, 0x45, 0x4c, 0x46, 2, 1]
      && Self.number(header, at: 58, bytes: 2) == UInt64(Self.headerSize)
    headerOffset = isKnown ? Self.number(header, at: 40, bytes: 8) : 0
    headerCount = isKnown ? Int(Self.number(header, at: 60, bytes: 2)) : 0
    nameIndex = isKnown ? Int(Self.number(header, at: 62, bytes: 2)) : 0
  }

  /// The address at which a section is loaded, relative to the file's beginning, and its size.
  func section(_ name: String) -> (address: UInt64, size: Int)? {
    guard nameIndex < headerCount, let names = header(nameIndex) else { return nil }
    let wanted = Array(name.utf8) + [0]
    for index in 0..<headerCount {
      guard let header = header(index) else { return nil }
      let position = Self.number(names, at: 24, bytes: 8) &+ Self.number(header, at: 0, bytes: 4)
      guard file.read(at: position, count: wanted.count) == wanted else { continue }
      let size = Self.number(header, at: 32, bytes: 8)
      return (Self.number(header, at: 16, bytes: 8), Int(clamping: size))
    }
    return nil
  }

  private func header(_ index: Int) -> [UInt8]? {
    file.read(at: headerOffset &+ UInt64(index * Self.headerSize), count: Self.headerSize)
  }

  private static func number(_ bytes: [UInt8], at position: Int, bytes count: Int) -> UInt64 {
    bytes[position..<position + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
