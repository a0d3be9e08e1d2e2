import FSRing
import Testing

@testable import FSStack

/// The engine's side of a channel: which connection is on which slot.
@Suite struct ChannelStateTests {
  /// A channel of 32 slots over memory of its own.
  private static func withChannel(_ body: (inout ChannelState) -> Void) {
    let geometry = ChannelGeometry(
      commandCapacity: 64, eventCapacity: 64, receiveChunkCount: 4, sendChunkCount: 4,
      slotCount: 32)
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: geometry.byteCount, alignment: 4096)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: geometry.byteCount)
    var channel = ChannelState(memory: memory, geometry: geometry)
    defer { channel.deallocate() }
    body(&channel)
  }

  private static func usedSlots(_ channel: ChannelState) -> [UInt32] {
    var list: [UInt32] = []
    var next = channel.usedSlot(from: 0)
    while let slot = next {
      list.append(slot)
      next = channel.usedSlot(from: slot + 1)
    }
    return list
  }

  @Test func aSlotThatWasNeverUsedIsFreeAndHasNoConnection() {
    Self.withChannel { channel in
      for slot in 0..<40 as Range<UInt32> {
        #expect(channel.connection(on: slot) == nil)
        #expect(channel.isFree(slot))
        #expect(!channel.isRefused(slot))
      }
      #expect(Self.usedSlots(channel).isEmpty)
    }
  }

  @Test func slotsOfBothHalvesAreFoundFromTheFirstToTheLast() {
    Self.withChannel { channel in
      for number in 0..<3 as Range<UInt32> {
        #expect(channel.assignSlot(to: ConnectionID(raw: 100 + number)) == number)
      }
      // An application numbers its slots as it likes.
      channel.occupy(31, by: ConnectionID(raw: 7))
      channel.refuse(20, SocketError.hostUnreachable)
      #expect(Self.usedSlots(channel) == Array(0..<3) + Array(16..<32))
      #expect(channel.connection(on: 1) == ConnectionID(raw: 101))
      #expect(channel.connection(on: 31) == ConnectionID(raw: 7))
      #expect(channel.isRefused(20))
      for slot in Array(16..<20) + Array(21..<31) as [UInt32] {
        #expect(channel.connection(on: slot) == nil)
        #expect(channel.isFree(slot))
      }
    }
  }

  @Test func whenAllSlotsOfAcceptedConnectionsAreInUseNoneIsAssigned() {
    Self.withChannel { channel in
      for number in 0..<16 as Range<UInt32> {
        #expect(channel.assignSlot(to: ConnectionID(raw: number)) == number)
      }
      #expect(!channel.hasFreeSlot)
      #expect(channel.assignSlot(to: ConnectionID(raw: 16)) == nil)
      channel.release(5)
      #expect(channel.assignSlot(to: ConnectionID(raw: 17)) == 5)
    }
  }

  @Test func aProcessCanHoldAllConnectionsOfAnEngine() {
    let engine = EngineConfiguration(engineIndex: 0, engineCount: 1, secret: (1, 2, 3, 4))
    #expect(Int(ChannelGeometry.standard.firstConnectSlot) >= engine.maximumConnections)
  }
}
