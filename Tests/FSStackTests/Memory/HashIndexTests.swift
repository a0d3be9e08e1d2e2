import Testing

@testable import FSStack

@Suite struct HashIndexTests {
  /// Against a dictionary, with hashes that collide in the tag, in the home place, and not at all.
  @Test(arguments: [0, 3, 8, 40])
  func agreesWithDictionary(bits: UInt64) {
    var random = SplitMix64(seed: bits)
    let index = HashIndex(capacity: 64)
    defer { index.deallocate() }
    var model: [UInt32: UInt64] = [:]
    for step in 0..<20_000 {
      let number = UInt32.random(in: 0..<64, using: &random)
      if let hash = model[number] {
        index.remove(hash, number)
        model[number] = nil
      } else {
        let hash = (random.next() & (1 << bits - 1)) << 32 | random.next() >> 60
        index.insert(hash, number)
        model[number] = hash
      }
      guard step % 16 == 0 else { continue }
      for number in UInt32(0)..<64 {
        let hash = model[number]
        let found = index.find(hash ?? 0) { $0 == number }
        guard found == (hash == nil ? nil : number) else {
          Issue.record("step \(step): \(number) is \(String(describing: found))")
          return
        }
      }
    }
  }
}

@Suite struct SlabTests {
  /// Every place is given once, until it is freed; a full slab says so.
  @Test func allocatesEachPlaceOnce() {
    var random = SplitMix64(seed: 1)
    let slab = Slab<ConnectionID, Int>(capacity: 20)
    defer { slab.deallocate() }
    var model: [UInt32: Int] = [:]
    for step in 0..<5000 {
      if random.chance(0.52) {
        let id = slab.allocate(step)
        #expect((id == nil) == (model.count == 20))
        if let id {
          #expect(model[id.raw] == nil && slab.isAllocated(id))
          model[id.raw] = step
        }
      } else if let raw = model.keys.sorted().randomElement(using: &random) {
        #expect(slab[ConnectionID(raw: raw)] == model[raw])
        slab.free(ConnectionID(raw: raw))
        model[raw] = nil
      }
      #expect(slab.count == UInt32(model.count) && slab.watermark <= 20)
    }
    #expect(!slab.isAllocated(.none) && !slab.isAllocated(ConnectionID(raw: 20)))
  }

  @Test func freeingTwiceTraps() async {
    await #expect(processExitsWith: .failure) {
      let slab = Slab<ConnectionID, Int>(capacity: 2)
      guard let id = slab.allocate(1) else { return }
      slab.free(id)
      slab.free(id)
    }
  }
}

@Suite struct LinkTableTests {
  /// Two lists that share a table, against arrays; the table alone, and as one of several columns.
  @Test(arguments: [nil, 0, 2]) func agreesWithArrays(column: Int?) {
    var random = SplitMix64(seed: 2)
    let rows = LinkRows<ConnectionID>(capacity: 30)
    let links = column.map { LinkTable(column: $0, of: rows) } ?? LinkTable(capacity: 30)
    defer {
      links.deallocate()
      rows.deallocate()
    }
    // What stands beside it: nothing may change there.
    let other = LinkTable(column: 1, of: rows)
    var others = ListHead<ConnectionID>()
    for number in 0..<30 { other.append(ConnectionID(raw: UInt32(number)), to: &others) }
    defer {
      for number in 0..<30 { #expect(other.popFirst(of: &others)?.raw == UInt32(number)) }
    }
    var heads = [ListHead<ConnectionID>(), ListHead<ConnectionID>()]
    var model: [[UInt32]] = [[], []]
    for _ in 0..<5000 {
      let id = ConnectionID(raw: UInt32.random(in: 0..<30, using: &random))
      let list = Int.random(in: 0..<2, using: &random)
      if let holder = model.firstIndex(where: { $0.contains(id.raw) }) {
        if random.chance(0.3) {
          let first = links.popFirst(of: &heads[holder])
          #expect(first?.raw == model[holder].removeFirst())
        } else {
          links.remove(id, from: &heads[holder])
          model[holder].removeAll { $0 == id.raw }
        }
      } else {
        links.append(id, to: &heads[list])
        model[list].append(id.raw)
      }
      for list in 0..<2 {
        var found: [UInt32] = []
        var next = heads[list].first
        while next != .none, found.count < 31 {
          found.append(next.raw)
          next = links.next(after: next)
        }
        guard found == model[list], heads[list].isEmpty == found.isEmpty else {
          Issue.record("\(found) is not \(model[list])")
          return
        }
      }
    }
  }
}

@Suite struct TransmitQueueTests {
  /// Frames go round: free, pending in order, with the kernel, free.
  @Test func framesGoRound() {
    var random = SplitMix64(seed: 3)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 8 * 64, alignment: 64)
    defer { memory.deallocate() }
    let queue = TransmitQueue(base: memory, frameSize: 64, frames: (0..<8).map { $0 * 64 })
    defer { queue.deallocate() }
    var pending: [UInt64] = []
    var sent: [UInt64] = []
    for _ in 0..<3000 {
      switch Int.random(in: 0..<3, using: &random) {
      case 0:
        guard let frame = queue.allocate() else {
          #expect(pending.count + sent.count == 8)
          continue
        }
        #expect(!pending.contains(frame) && !sent.contains(frame))
        queue.commit(frame, length: Int(frame) / 64 + 1)
        pending.append(frame)
      case 1:
        // The ring takes some of them.
        var room = Int.random(in: 0...8, using: &random)
        queue.takePending { offset, length in
          guard room > 0 else { return false }
          room -= 1
          #expect(offset == pending.removeFirst() && length == Int(offset) / 64 + 1)
          sent.append(offset)
          return true
        }
      default:
        sent.shuffle(using: &random)
        if let frame = sent.popLast() { queue.recycle(frame) }
      }
      #expect(queue.pendingCount == pending.count)
      #expect(queue.freeCount == 8 - pending.count - sent.count)
    }
  }
}
