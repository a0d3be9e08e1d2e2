/// What has been set up, to be undone in the opposite order.
final class Teardown {
  private var steps: [() -> Void] = []

  /// Notes how to undo what has just been done.
  func add(_ step: @escaping () -> Void) {
    steps.append(step)
  }

  /// Notes what shall be done after all that has been noted.
  func addFirst(_ step: @escaping () -> Void) {
    steps.insert(step, at: 0)
  }

  /// Undoes everything that has been noted.
  func run() {
    while let step = steps.popLast() { step() }
  }
}
