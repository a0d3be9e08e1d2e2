@testable import FSStack

// Frames between the hosts: the boxes on a link, then the link.

extension Simulation {
  /// Puts a frame on its link.
  func send(_ frame: [UInt8], from sender: Int) { send([frame], from: sender) }

  /// Puts the frames of one burst on their links.
  func send(_ frames: [[UInt8]], from sender: Int) {
    var used: Set<Int> = []
    for frame in frames {
      let pair = sender == 0 ? pair(to: frame) : sender - 1
      used.insert(pair)
      var notes: [String] = []
      if isLostOnPurpose(frame, sender) {
        notes.append("lost on purpose")
      } else {
        send(frame, pair: pair, side: sender == 0 ? 0 : 1, &notes)
      }
      trace.record(frame, from: hosts[sender].name, at: now, notes: notes)
    }
    for pair in used.sorted() where !middleboxes[pair].isEmpty {
      flush(pair, side: sender == 0 ? 0 : 1)
    }
  }

  /// The link to the host that one of A's frames is for: the last byte of its address is its number.
  private func pair(to frame: [UInt8]) -> Int {
    let number = Int(frame[5])
    return (2...hosts.count).contains(number) ? number - 2 : 0
  }

  private func isLostOnPurpose(_ frame: [UInt8], _ sender: Int) -> Bool {
    guard let loses else { return false }
    var segment = Segment()
    let result = frame.withUnsafeBytes { segment.parse($0, acceptPartialChecksum: false) }
    return result == .segment && loses(hosts[sender].name, segment)
  }

  private func send(_ frame: [UInt8], pair: Int, side: Int, _ notes: inout [String]) {
    let link = links[2 * pair + side]
    if link.conditions.reportsTooBig, link.isTooBig(frame), let segment = TCPFrame(frame) {
      notes.append("too big, reported")
      let message = RouterMessage.packetTooBig(segment, mtu: link.conditions.mtu)
      deliver(message, pair: pair, side: 1 - side, at: now + link.conditions.latency)
      return
    }
    guard let segment = TCPFrame(frame), !middleboxes[pair].isEmpty else {
      carry(frame, pair: pair, side: side, &notes)
      return
    }
    pass(segment, from: 0, pair: pair, side: side, &notes)
  }

  /// A segment meets the boxes from number `first` on, counted in its own direction.
  private func pass(
    _ segment: TCPFrame, from first: Int, pair: Int, side: Int, _ notes: inout [String]
  ) {
    let boxes = middleboxes[pair]
    guard first < boxes.count else {
      carry(segment.bytes, pair: pair, side: side, &notes)
      return
    }
    let box = boxes[side == 0 ? first : boxes.count - 1 - first]
    let passage = box.pass(segment, side: side)
    notes += passage.notes
    for back in passage.back {
      let latency = links[2 * pair + side].conditions.latency
      deliver(back.bytes, pair: pair, side: 1 - side, at: now + latency)
    }
    for onward in passage.onward {
      pass(onward, from: first + 1, pair: pair, side: side, &notes)
    }
  }

  private func flush(_ pair: Int, side: Int) {
    for first in middleboxes[pair].indices {
      let boxes = middleboxes[pair]
      let box = boxes[side == 0 ? first : boxes.count - 1 - first]
      var notes: [String] = []
      for segment in box.flush(side: side) {
        pass(segment, from: first + 1, pair: pair, side: side, &notes)
      }
      if !notes.isEmpty { trace.annotateLast(notes) }
    }
  }

  private func carry(_ frame: [UInt8], pair: Int, side: Int, _ notes: inout [String]) {
    let fate = links[2 * pair + side].carry(frame, now: now)
    notes += fate.notes
    for (time, copy) in fate.arrivals { deliver(copy, pair: pair, side: side, at: time) }
  }

  private func deliver(_ frame: [UInt8], pair: Int, side: Int, at time: Instant) {
    happenings.insert(.frame(frame, host: side == 0 ? pair + 1 : 0), at: time)
  }
}
