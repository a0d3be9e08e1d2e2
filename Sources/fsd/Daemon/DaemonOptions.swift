import FSDevice
import FSRing
import FSStack

/// What a daemon shall do.
struct DaemonOptions: Sendable {
  var interfaces: [String]
  /// Processors for engines; nil: chosen.
  var cores: [Int]?
  var attach: XDPProgram.AttachPreference
  /// Where engines run in relation to applications; nil: chosen.
  var placement: IdlePolicy.Placement?
  /// Descriptors of each of the cards' rings; nil: as they are.
  var ringSize: Int?
  /// How long packets may gather before the kernel looks again; nil: as it is.
  var coalesceMicroseconds: Int?
  /// Congestion control of connections that do not choose one.
  var congestion: CongestionAlgorithm
  var ecn: ECNPolicy
  /// Idle budget; nil: by placement.
  var spinMicroseconds: UInt64?
  var paths: RuntimePaths
  /// The runtime directory was made for this run, and goes with it.
  var directoryIsOurs: Bool
  /// A log file that stays; nil: the one in the runtime directory.
  var logFile: String?
}
