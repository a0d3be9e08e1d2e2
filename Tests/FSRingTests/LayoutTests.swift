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

  @Test func controlMessageFieldsStandWhereTheyStood() {
    let offsets = [
      MemoryLayout<ControlMessage>.offset(of: \.kind),
      MemoryLayout<ControlMessage>.offset(of: \.request),
      MemoryLayout<ControlMessage>.offset(of: \.engine),
      MemoryLayout<ControlMessage>.offset(of: \.flags),
      MemoryLayout<ControlMessage>.offset(of: \.addressHigh),
      MemoryLayout<ControlMessage>.offset(of: \.geometry),
      MemoryLayout<ControlMessage>.offset(of: \.localPort),
      MemoryLayout<ControlMessage>.offset(of: \.remotePort),
      MemoryLayout<ControlMessage>.offset(of: \.localHigh),
      MemoryLayout<ControlMessage>.offset(of: \.localLow),
    ]
    #expect(offsets == [6, 8, 16, 32, 40, 56, 76, 78, 80, 88])
  }

  /// What `progress` says in the place of the remote address does not disturb its neighbours.
  @Test func progressFieldsAreApart() {
    var event = Event(.progress, slot: 1)
    event.inFlight = 0xffff_ffff
    event.congestionWindow = 0x1234_5678
    event.urgentDistance = -2
    #expect(event.inFlight == 0xffff_ffff && event.congestionWindow == 0x1234_5678)
    event.inFlight = 3
    #expect(event.inFlight == 3 && event.congestionWindow == 0x1234_5678)
    #expect(event.urgentDistance == -2 && event.slot == 1)
  }

  /// Offsets of struct tcp_info in linux/tcp.h.
  @Test func reportIsTheKernelsStructure() {
    typealias Report = MemoryLayout<ConnectionReport>
    let offsets = [
      Report.offset(of: \.deliveryFlags), Report.offset(of: \.retransmissionTimeout),
      Report.offset(of: \.unacknowledged), Report.offset(of: \.lastDataSent),
      Report.offset(of: \.pathMTU), Report.offset(of: \.reordering),
      Report.offset(of: \.totalRetransmitted), Report.offset(of: \.pacingRate),
      Report.offset(of: \.segmentsOut), Report.offset(of: \.unsentBytes),
      Report.offset(of: \.deliveryRate), Report.offset(of: \.delivered),
      Report.offset(of: \.bytesSent), Report.offset(of: \.sendWindow),
      Report.offset(of: \.totalTimeouts), Report.offset(of: \.totalTimeoutTime),
    ]
    #expect(
      offsets == [7, 8, 24, 44, 60, 88, 100, 104, 136, 144, 160, 192, 200, 228, 240, 244])
    #expect(Report.size == ConnectionReport.size && ConnectionReport.size == 256)
  }

  @Test func theHeaderHasRoomForTheReports() {
    var page = [UInt8](repeating: 0, count: ChannelGeometry.headerSize)
    page.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      let header = ChannelHeader(base: base)
      let last = ChannelHeader.reportCount - 1
      let report = UnsafeRawPointer(header.report(last))
      #expect(report + ConnectionReport.size == base + ChannelGeometry.headerSize)
      let sequence = UnsafeRawPointer(header.reportSequence(last))
      #expect(sequence + 64 <= UnsafeRawPointer(header.report(0)))
      #expect(UnsafeRawPointer(header.reportSequence(0)) > UnsafeRawPointer(header.routeGeneration))
    }
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
