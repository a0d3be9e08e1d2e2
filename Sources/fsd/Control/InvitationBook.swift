/// Who has been asked to accept where, so that the same process is not asked again and again.
struct InvitationBook {
  /// A process that could be asked, and the listener to name to it.
  struct Candidate: Equatable {
    var process: ProcessNumber
    var listener: UInt32
  }

  /// An engine without acceptor for an address and port.
  struct Place: Hashable {
    var group: SteeredPorts.Key
    var engine: Int
  }

  private struct Open {
    var process: ProcessNumber
    var attempts: Int
    var nextTick: UInt64
  }

  private var open: [Place: Open] = [:]
  private var turn = 0

  /// Longest pause between two requests for one place, in ticks.
  static let longestPause: UInt64 = 64

  /// Whether a request waits for its answer.
  var hasOpen: Bool { !open.isEmpty }

  /// Whom to ask now for that place, round robin; nil when it is not time yet.
  mutating func next(
    _ place: Place, of candidates: [Candidate], tick: UInt64
  ) -> Candidate? {
    guard !candidates.isEmpty else { return nil }
    let before = open[place]
    if let before, tick < before.nextTick { return nil }
    let chosen = candidates[turn % candidates.count]
    turn &+= 1
    let attempts = (before?.attempts ?? 0) + 1
    let pause = min(Self.longestPause, 1 << UInt64(min(attempts, 10) - 1))
    open[place] = Open(process: chosen.process, attempts: attempts, nextTick: tick + pause)
    return chosen
  }

  /// These places still have no acceptor; whatever was asked for others is settled.
  mutating func keep(only places: Set<Place>) {
    open = open.filter { places.contains($0.key) }
  }

  /// A process is gone: whatever it was asked for, another may be asked at once.
  mutating func forget(_ process: ProcessNumber) {
    open = open.filter { $0.value.process != process }
  }
}
