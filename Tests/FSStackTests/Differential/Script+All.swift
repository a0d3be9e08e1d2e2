@testable import FSStack

extension Script {
  /// All scripts, those of one kind together.
  static let all: [Script] =
    product(Situation.all, Stimulus.all) + product(Situation.timestamped, Stimulus.timestamps)
    + product(Situation.selective, Stimulus.selective) + handshakes + sending + windows
    + receiving + congestion + closings + reopenings

  private static func product(_ situations: [Situation], _ stimuli: [Stimulus]) -> [Script] {
    situations.flatMap { situation in stimuli.map(situation.script) }
  }
}
