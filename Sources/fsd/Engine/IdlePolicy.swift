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

  /// A processor of its own costs 60 to 85 us to wake on the design machine, so it pays to look for about as
  /// long. On a processor that it shares, an engine that sleeps is woken by the packet or the command in
  /// a few microseconds, and leaves the processor to others, or idle, meanwhile. Where packets gather, there will
  /// be no more of them before their time: then it is the application alone that is waited for.
  static func budget(for placement: Placement, packetsGather: Bool) -> UInt64 {
    switch placement {
    case .merged: packetsGather ? 5_000 : 20_000
    case .split: 50_000
    }
  }

  /// Time of one round without work that counts at most: about its own. In the merged placement a round may
  /// contain another thread's work on what the engine gave it, which is no reason to sleep.
  static let roundLimit: UInt64 = 2_000
}
