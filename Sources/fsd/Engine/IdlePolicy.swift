/// What an engine does while it has nothing to do, before it sleeps.
struct IdlePolicy: Equatable, Sendable {
  /// Where engines run in relation to applications.
  enum Placement: String, CaseIterable, Sendable {
    /// On the applications' own processors: an engine without work lets them run.
    case merged
    /// On processors of their own: an engine without work spins.
    case split
  }

  var placement: Placement
  /// Own time without work after which the engine sleeps.
  var budgetNanoseconds: UInt64

  /// Waking a thread on another, idle processor costs 60 to 85 us on the design machine, so it pays
  /// to look for about as long. On an engine's own processor a round without work is a yield: the
  /// budget is its own time only, and applications lose nothing by it.
  static func budget(for placement: Placement) -> UInt64 {
    switch placement {
    case .merged: 150_000
    case .split: 50_000
    }
  }

  /// Time of one round without work that counts at most. In the merged placement a round may
  /// contain another thread's whole time slice, which is no reason to sleep.
  static let roundLimit: UInt64 = 5_000
}
