/// How the tests were built.
enum Build {
  /// For release, as by `make simulate`.
  static var isOptimized: Bool {
    #if DEBUG
      false
    #else
      true
    #endif
  }
}
