import Testing

@testable import FSStack

@Suite struct ChecksumTests {
  /// All lengths, at offsets that no alignment helps, against the definition.
  @Test func agreesWithReference() {
    var random = SplitMix64(seed: 2)
    let memory = GuardedBuffer()
    let target = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 1)
    defer { target.deallocate() }
    for length in 0...2048 {
      // High bytes make carries.
      let data = random.bytes(length).map { length % 3 == 0 ? $0 | 0xf0 : $0 }
      let place = memory.place(data)
      let expected = referenceChecksum(data)
      let sum = Checksum.add(place, to: 0)
      guard ~Checksum.fold(sum).bigEndian == expected else {
        Issue.record("add, \(length) bytes")
        return
      }
      guard let base = place.baseAddress else { continue }
      let offset = length % 7
      let copied = Checksum.copy(from: base, to: target + offset, count: length)
      let result = UnsafeRawBufferPointer(start: target + offset, count: length)
      guard Checksum.fold(copied) == Checksum.fold(sum), result.elementsEqual(data) else {
        Issue.record("copy, \(length) bytes")
        return
      }
    }
  }

  /// The sum of two parts is the sum of the whole, also when the second begins at an odd offset.
  @Test func partsAddUp() {
    var random = SplitMix64(seed: 3)
    for length in 1...300 {
      let data = random.bytes(length)
      let cut = Int.random(in: 0...length, using: &random)
      let head = data[..<cut].withUnsafeBytes { Checksum.add($0, to: 0) }
      let tail = data[cut...].withUnsafeBytes { Checksum.add($0, to: 0) }
      let sum = head + (cut % 2 == 0 ? tail : Checksum.swapForOddOffset(tail))
      #expect(~Checksum.fold(sum).bigEndian == referenceChecksum(data), "\(cut) of \(length)")
    }
  }

  /// Any 64 bits fold to the same value modulo 65535, and only zero gives zero.
  @Test func foldIsModulo() {
    var random = SplitMix64(seed: 4)
    let edges: [UInt64] = [0, 1, 0xffff, 0x1_0000, 0xffff_ffff, 1 << 32, .max, .max - 1]
    for sum in edges + (0..<1000).map({ _ in random.next() >> UInt64.random(in: 0...60) }) {
      let folded = UInt64(Checksum.fold(sum))
      #expect(folded % 65535 == sum % 65535 && (folded == 0) == (sum == 0), "\(sum)")
    }
  }
}
