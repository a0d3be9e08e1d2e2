@testable import FSStack

extension Script {
  /// All scripts, those of one kind together.
  static let all: [Script] = Situation.all.flatMap { situation in
    Stimulus.all.map(situation.script)
  }
}
