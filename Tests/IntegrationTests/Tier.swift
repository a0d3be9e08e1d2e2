import Foundation

/// Which of the integration tests run.
enum Tier {
  /// Also those that take minutes: `make test-all`.
  static var isEverything: Bool { ProcessInfo.processInfo.environment["FS_EVERYTHING"] == "1" }
}
