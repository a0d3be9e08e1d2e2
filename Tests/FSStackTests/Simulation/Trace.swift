@testable import FSStack

/// The frames of a simulation, written as one reads them: sequence numbers count from the initial
/// ones, `first:end` for data, then the acknowledgement.
///
///     B> SYN 0
///     A> SYN ACK 0 ack 1
///     B> PSH ACK 1:101 ack 1
final class Trace {
  struct Entry {
    var time: Instant
    var sender: String
    var segment: Segment
    /// Sequence and acknowledgement number as written.
    var relative: (sequence: Int, acknowledgement: Int)
    var notes: [String]

    /// Flags, numbers, and what is remarkable.
    var line: String {
      let segment = self.segment
      var parts = Trace.names(segment.flags)
      let first = relative.sequence
      parts.append(
        segment.payloadLength > 0 ? "\(first):\(first + segment.payloadLength)" : "\(first)")
      if segment.flags.contains(.ack) { parts.append("ack \(relative.acknowledgement)") }
      if segment.window == 0, !segment.flags.contains(.rst) { parts.append("win 0") }
      if segment.options.sackCount > 0 { parts.append("sack") }
      if segment.ecn != .notCapable {
        parts.append(["", "ect1", "ect0", "ce"][Int(segment.ecn.bits)])
      }
      if segment.flags.contains(.urg) { parts.append("urg \(segment.urgentPointer)") }
      return ([sender + ">"] + parts).joined(separator: " ")
    }
  }

  private struct Direction: Hashable {
    var from: IPAddress
    var fromPort: UInt16
    var to: IPAddress
    var toPort: UInt16

    var reversed: Direction { Direction(from: to, fromPort: toPort, to: from, toPort: fromPort) }
  }

  private(set) var entries: [Entry] = []
  private var initial: [Direction: SequenceNumber] = [:]
  private let start: Instant
  /// A further SYN of a flow does not begin new numbers: it is sent where it means nothing.
  var keepsNumbers = false
  /// When there are as many entries, the older half of them goes.
  var limit = 20_000
  /// How many of the last lines a description shows.
  var shown = 120

  init(start: Instant) { self.start = start }

  /// The lines without times.
  var lines: [String] { entries.map(\.line) }

  /// The lines with the milliseconds, rounded, at which they were sent.
  var timedLines: [String] {
    entries.map {
      "\(Int((Double(($0.time - start).nanoseconds) / 1_000_000).rounded())) \($0.line)"
    }
  }

  /// Forgets the entries, not the numbers they count from.
  func clear() { entries.removeAll() }

  /// The lines since the last call.
  func take() -> [String] {
    defer { clear() }
    return lines
  }

  /// Notes a frame as its sender sent it.
  func record(_ frame: [UInt8], from sender: String, at time: Instant, notes: [String]) {
    var segment = Segment()
    let result = frame.withUnsafeBytes { segment.parse($0, acceptPartialChecksum: false) }
    guard result == .segment else { return }
    if entries.count >= limit { entries.removeFirst(limit / 2) }
    let direction = Self.direction(segment)
    if segment.flags.contains(.syn), !keepsNumbers || initial[direction] == nil {
      initial[direction] = segment.sequence
    }
    entries.append(entry(segment, sender, time, notes))
  }

  /// Adds notes to the last entry.
  func annotateLast(_ notes: [String]) {
    if !entries.isEmpty { entries[entries.count - 1].notes += notes }
  }

  private func entry(
    _ segment: Segment, _ sender: String, _ time: Instant, _ notes: [String]
  ) -> Entry {
    let direction = Self.direction(segment)
    let relative = (
      sequence: distance(segment.sequence, direction),
      acknowledgement: distance(segment.acknowledgement, direction.reversed)
    )
    return Entry(time: time, sender: sender, segment: segment, relative: relative, notes: notes)
  }

  private static func direction(_ segment: Segment) -> Direction {
    Direction(
      from: segment.source, fromPort: segment.sourcePort, to: segment.destination,
      toPort: segment.destinationPort)
  }

  /// The line of a segment that has not been sent yet.
  func wouldWrite(_ segment: Segment, _ sender: String) -> String {
    entry(segment, sender, start, []).line
  }

  private func distance(_ number: SequenceNumber, _ direction: Direction) -> Int {
    Int(number - (initial[direction] ?? SequenceNumber(0)))
  }

  /// Where the sequence numbers of one direction begin.
  func initialSequence(
    from: IPAddress, _ fromPort: UInt16, to: IPAddress, _ toPort: UInt16
  ) -> SequenceNumber? {
    initial[Direction(from: from, fromPort: fromPort, to: to, toPort: toPort)]
  }

  static func names(_ flags: TCPFlags) -> [String] {
    let all: [(TCPFlags, String)] = [
      (.syn, "SYN"), (.fin, "FIN"), (.rst, "RST"), (.psh, "PSH"), (.ack, "ACK"), (.urg, "URG"),
      (.ece, "ECE"), (.cwr, "CWR"),
    ]
    return all.filter { flags.contains($0.0) }.map(\.1)
  }
}

extension Trace: CustomStringConvertible {
  /// The last lines.
  var description: String { text() }

  /// The last lines of the flows with one of the ports, or of all if there are none: times in
  /// milliseconds, windows and notes; with the ports, where there are several flows.
  func text(ports: Set<UInt16> = []) -> String {
    let wanted = entries.filter {
      ports.isEmpty || ports.contains($0.segment.sourcePort)
        || ports.contains($0.segment.destinationPort)
    }
    let flows = Set(wanted.map { [$0.segment.sourcePort, $0.segment.destinationPort].sorted() })
    let lines = wanted.suffix(shown).map { entry in
      let segment = entry.segment
      let milliseconds = Double((entry.time - start).nanoseconds) / 1_000_000
      let notes = entry.notes.isEmpty ? "" : "  (" + entry.notes.joined(separator: ", ") + ")"
      let flow = flows.count > 1 ? "\(segment.sourcePort)>\(segment.destinationPort)\t" : ""
      return "\(milliseconds)\t\(flow)\(entry.line) win \(segment.window)\(notes)"
    }
    return "\n" + lines.joined(separator: "\n") + "\n"
  }
}
