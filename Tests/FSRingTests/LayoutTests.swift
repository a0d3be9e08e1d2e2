import Synchronization
import Testing

@testable import FSRing

/// The layout is an interface between processes that may be built at different times: a change here
/// needs a new version number.
@Suite struct LayoutTests {
  @Test func messagesHaveTheirSizes() {
    #expect(MemoryLayout<Command>.size == Command.size)
    #expect(MemoryLayout<Command>.stride == 64)
    #expect(MemoryLayout<Event>.size == Event.size)
    #expect(MemoryLayout<Event>.stride == 64)
    #expect(MemoryLayout<ControlMessage>.size == ControlMessage.size)
    #expect(MemoryLayout<Atomic<UInt32>>.size == 4)
  }

  @Test func commandFieldsStandWhereTheyStood() {
    let offsets = [
      MemoryLayout<Command>.offset(of: \.kind), MemoryLayout<Command>.offset(of: \.flags),
      MemoryLayout<Command>.offset(of: \.offset), MemoryLayout<Command>.offset(of: \.slot),
      MemoryLayout<Command>.offset(of: \.chunk), MemoryLayout<Command>.offset(of: \.length),
      MemoryLayout<Command>.offset(of: \.value), MemoryLayout<Command>.offset(of: \.localPort),
      MemoryLayout<Command>.offset(of: \.remotePort),
      MemoryLayout<Command>.offset(of: \.localHigh),
      MemoryLayout<Command>.offset(of: \.remoteLow),
    ]
    #expect(offsets == [0, 1, 2, 4, 8, 12, 16, 20, 22, 24, 48])
  }

  @Test func eventFieldsStandWhereTheyStood() {
    let offsets = [
      MemoryLayout<Event>.offset(of: \.kind), MemoryLayout<Event>.offset(of: \.flags),
      MemoryLayout<Event>.offset(of: \.error), MemoryLayout<Event>.offset(of: \.slot),
      MemoryLayout<Event>.offset(of: \.chunk), MemoryLayout<Event>.offset(of: \.offset),
      MemoryLayout<Event>.offset(of: \.length), MemoryLayout<Event>.offset(of: \.acknowledged),
      MemoryLayout<Event>.offset(of: \.listener), MemoryLayout<Event>.offset(of: \.localPort),
      MemoryLayout<Event>.offset(of: \.remotePort),
      MemoryLayout<Event>.offset(of: \.maximumSegmentSize),
      MemoryLayout<Event>.offset(of: \.localHigh), MemoryLayout<Event>.offset(of: \.remoteLow),
    ]
    #expect(offsets == [0, 1, 2, 4, 8, 12, 14, 16, 20, 24, 26, 28, 32, 56])
  }

  @Test func theStandardGeometryIsValidAndItsPartsFollowEachOther() {
    let geometry = ChannelGeometry.standard
    #expect(geometry.isValid)
    #expect(geometry.commandOffset == 4096)
    #expect(geometry.eventOffset == 4096 + 4096 * 64)
    #expect(geometry.receiveOffset == geometry.eventOffset + 8192 * 64)
    #expect(geometry.sendOffset == geometry.receiveOffset + 8192 * 2048)
    #expect(geometry.byteCount == geometry.sendOffset + 4096 * 4096)
    #expect(geometry.receiveOffset % 4096 == 0 && geometry.sendOffset % 4096 == 0)
  }

  static let invalid: [ChannelGeometry] = [
    geometry { $0.commandCapacity = 0 }, geometry { $0.commandCapacity = 100 },
    geometry { $0.commandCapacity = 32 }, geometry { $0.eventCapacity = 3 << 10 },
    geometry { $0.eventCapacity = 1 << 21 }, geometry { $0.receiveChunkCount = 0 },
    geometry { $0.sendChunkCount = .max }, geometry { $0.slotCount = 3 },
    geometry { $0.slotCount = 0 },
  ]

  private static func geometry(_ change: (inout ChannelGeometry) -> Void) -> ChannelGeometry {
    var geometry = ChannelGeometry.standard
    change(&geometry)
    return geometry
  }

  @Test(arguments: invalid)
  func impossibleGeometriesAreRefused(_ geometry: ChannelGeometry) {
    #expect(!geometry.isValid)
  }

  @Test func headerWordsHaveCacheLinesOfTheirOwn() {
    let page = UnsafeMutableRawPointer.allocate(
      byteCount: ChannelGeometry.headerSize, alignment: 4096)
    defer { page.deallocate() }
    page.initializeMemory(as: UInt8.self, repeating: 0, count: ChannelGeometry.headerSize)
    let header = ChannelHeader(base: page)
    #expect(!header.isCurrent)
    header.initialize()
    #expect(header.isCurrent)
    let words = [
      header.commandTail, header.commandHead, header.eventTail, header.eventHead,
      header.applicationWaiters, header.engineSleep, header.routeGeneration,
    ]
    let lines = words.map { (UnsafeMutableRawPointer($0) - page) / 64 }
    #expect(lines == [1, 2, 3, 4, 5, 6, 7])
  }
}
