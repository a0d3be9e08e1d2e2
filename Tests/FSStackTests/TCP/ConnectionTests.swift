import Testing

@testable import FSStack

@Suite struct ConnectionTests {
  /// Seven cache lines, and as many bytes for each idle connection. What does not fit belongs to
  /// `UncommonState`, or where else something is only known of some connections.
  @Test func connectionIsSmall() {
    #expect(MemoryLayout<Connection>.stride == 7 * 64)
    #expect(MemoryLayout<CongestionControl>.size <= 92)
    // Links of three lists and the timer.
    #expect(MemoryLayout<UInt64>.stride << LinkRows<ConnectionID>.shift == 32)
  }

  /// What is used together stands together: where the lines begin.
  @Test func linesBeginWhereTheyShould() {
    #expect(MemoryLayout<Connection>.offset(of: \.flow) == 0)
    #expect(MemoryLayout<Connection>.offset(of: \.sendUnacknowledged) == 64)
    #expect(MemoryLayout<Connection>.offset(of: \.roundTrip) == 2 * 64)
    #expect(MemoryLayout<Connection>.offset(of: \.acknowledgeAt) == 3 * 64)
    #expect(MemoryLayout<Connection>.offset(of: \.channel) == 4 * 64)
  }

  /// Slabs begin with a cache line, large or small.
  @Test(arguments: [1, 3, 100, 20_000]) func memoryIsAligned(capacity: Int) {
    let memory: UnsafeMutablePointer<Connection> = LargeMemory.allocate(capacity)
    defer { memory.deallocate() }
    #expect(Int(bitPattern: memory) % 64 == 0)
  }
}
