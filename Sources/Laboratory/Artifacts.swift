import Foundation

/// The two products under test, and the programs of the benchmark that are built with them.
public struct Artifacts: Sendable {
  /// Path of the daemon.
  public let daemon: String
  /// Path of the library to preload.
  public let library: String

  /// Path of fs-load; only the benchmark builds it.
  public var loadGenerator: String { beside("fs-load") }
  /// Path of fs-echo; only the benchmark builds it.
  public var echo: String { beside("fs-echo") }

  private func beside(_ name: String) -> String {
    "\((daemon as NSString).deletingLastPathComponent)/\(name)"
  }

  /// The products, wherever they are.
  public static func located() throws -> Artifacts { try locate(required: true) }

  /// Finds the products: in `FS_BUILD_DIR`, beside the running program (`swift build` and
  /// `swift test` put them there), or in ./build (`make`).
  static func locate(required: Bool) throws -> Artifacts {
    let manager = FileManager.default
    let beside = CommandLine.arguments.first.map { ($0 as NSString).deletingLastPathComponent }
    var candidates = [beside, "build"].compactMap { $0 }
    // `swift test` runs a helper of the toolchain that is given the path of the test bundle.
    for argument in CommandLine.arguments where argument.hasSuffix(".xctest") {
      candidates.insert((argument as NSString).deletingLastPathComponent, at: 0)
    }
    if let chosen = ProcessInfo.processInfo.environment["FS_BUILD_DIR"] { candidates = [chosen] }
    for candidate in candidates {
      let base =
        candidate.hasPrefix("/") ? candidate : "\(manager.currentDirectoryPath)/\(candidate)"
      let artifacts = Artifacts(daemon: "\(base)/fsd", library: "\(base)/libfsocket.so")
      if manager.fileExists(atPath: artifacts.daemon),
        manager.fileExists(atPath: artifacts.library)
      {
        return artifacts
      }
    }
    guard !required else {
      throw LaboratoryError(
        "fsd and libfsocket.so are in none of \(candidates); run make, or set FS_BUILD_DIR")
    }
    return Artifacts(daemon: "/nonexistent/fsd", library: "/nonexistent/libfsocket.so")
  }
}
