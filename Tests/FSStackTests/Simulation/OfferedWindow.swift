@testable import FSStack

/// The window that one side of a flow has offered, as far as anyone can tell from its segments. Where
/// it may have forgotten that windows are scaled, both meanings are followed until one is refuted.
struct OfferedWindow {
  /// One meaning: the shift of the window field, and where the window ends by it, furthest to the right.
  private struct Meaning {
    var shift: UInt8
    var edge: SequenceNumber

    func edge(of frame: TCPFrame) -> SequenceNumber {
      frame.acknowledgement + UInt32(frame.window) << UInt32(shift)
    }

    func loss(_ frame: TCPFrame) -> Int32 { edge - edge(of: frame) }

    /// A window that is no multiple of its unit is rounded (RFC 7323 section 2.4).
    func isRefuted(by frame: TCPFrame) -> Bool { loss(frame) >= Int32(1) << Int32(shift) }
  }

  private var meanings: [Meaning] = []
  /// Where the windows of SYNs end, which have no shift.
  private var first: SequenceNumber?

  /// Where it may end at most.
  var edge: SequenceNumber? { meanings.map(\.edge).max() ?? first }

  /// Takes the window of a SYN; returns by how much its edge has gone left, if it has. A field that is
  /// full cannot offer again all that was offered with a shift.
  mutating func offer(synchronize frame: TCPFrame) -> Int32? {
    let edge = frame.acknowledgement + UInt32(frame.window)
    let before = meanings.map(\.edge).min() ?? first
    if meanings.isEmpty { first = max(first ?? edge, edge) }
    guard let before, before - edge >= 1, frame.window != .max else { return nil }
    return before - edge
  }

  /// Takes the window of another segment, whose field has one of these shifts; returns by how much its
  /// edge has gone left, if it has by each of them.
  mutating func offer(_ frame: TCPFrame, shifts: Set<UInt8>) -> Int32? {
    if meanings.isEmpty {
      for shift in shifts {
        var meaning = Meaning(shift: shift, edge: frame.acknowledgement)
        meaning.edge = first ?? meaning.edge(of: frame)
        meanings.append(meaning)
      }
    }
    let possible = meanings.filter { !$0.isRefuted(by: frame) }
    guard !possible.isEmpty else { return meanings.map { $0.loss(frame) }.min() }
    meanings = possible
    for index in meanings.indices {
      meanings[index].edge = max(meanings[index].edge, meanings[index].edge(of: frame))
    }
    return nil
  }
}
