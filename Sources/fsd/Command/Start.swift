import ArgumentParser
import FSDevice
import FSRing
import FSStack

/// `fsd start`.
struct Start: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start the daemon; returns when it serves.",
    discussion: """
      One TCP engine runs on each processor, as far as every interface has a receive queue for it. \
      Existing connections, and everything that no accelerated application listens for, stay with \
      the kernel.
      """)

  @Option(
    name: .customLong("iface"), parsing: .singleValue,
    help: ArgumentHelp("A network interface to serve; may be repeated.", valueName: "name"))
  var interfaces: [String] = []

  @Option(help: ArgumentHelp("Processors for the engines, like 0,2-3.", valueName: "list"))
  var cores: String?

  @Flag(help: "Stay in the foreground and log to standard error.")
  var foreground = false

  @Option(help: "XDP attach mode: native falls through to the driver, generic to the network core.")
  var mode: AttachMode = .auto

  @Option(
    help: ArgumentHelp(
      "merged: engines share processors with applications; split: they have a hyper-thread of each "
        + "core, or processors of their own (default: by the machine's topology)."))
  var placement: PlacementChoice = .auto

  @Option(
    help: ArgumentHelp(
      "Descriptors of each ring of the card (ethtool -G), as far as it has them; restored at the end.",
      valueName: "number"))
  var ringSize: Int?

  @Option(
    help: ArgumentHelp(
      "How long packets may gather before the kernel is interrupted for the next (software interrupt "
        + "coalescing): less CPU where load is moderate, and as much more latency; restored at the end.",
      valueName: "number"))
  var coalesceMicroseconds: Int?

  @Option(
    help: ArgumentHelp(
      "Congestion control of connections that do not choose one (TCP_CONGESTION).",
      valueName: "name"))
  var congestion: CongestionChoice = .cubic

  @Option(
    help: ArgumentHelp(
      "Explicit congestion notification: off, with peers that ask for it, or asked for.",
      valueName: "policy"))
  var ecn: ECNChoice = .accept

  @Option(
    help: ArgumentHelp(
      "How long an engine without work stays awake (default: by placement).",
      valueName: "number"))
  var spinMicroseconds: UInt64?

  @Option(
    name: .customLong("log"),
    help: ArgumentHelp(
      "Log file of the daemon in the background, kept when it stops (default: fsd.log in the "
        + "runtime directory, removed when it stops).", valueName: "file"))
  var logFile: String?

  @OptionGroup var runtime: RuntimeOptions

  /// For `fsd start` itself, which starts the daemon with `--foreground`: where to report.
  @Option(help: .hidden)
  var readyDescriptor: Int32?

  /// For `fsd start` itself: it has made the runtime directory.
  @Flag(help: .hidden)
  var directoryIsOurs = false

  /// How the XDP program is attached.
  enum AttachMode: String, ExpressibleByArgument, CaseIterable {
    case auto, native, generic

    var preference: XDPProgram.AttachPreference {
      switch self {
      case .auto: .automatic
      case .native: .native
      case .generic: .generic
      }
    }
  }

  /// Where engines run in relation to applications.
  enum PlacementChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, merged, split

    var fixed: IdlePolicy.Placement? { IdlePolicy.Placement(rawValue: rawValue) }
  }

  /// Names of congestion control algorithms, as in TCP_CONGESTION.
  enum CongestionChoice: String, ExpressibleByArgument, CaseIterable {
    case cubic, reno, dctcp

    var algorithm: CongestionAlgorithm {
      switch self {
      case .cubic: .cubic
      case .reno: .newReno
      case .dctcp: .dctcp
      }
    }
  }

  /// With whom explicit congestion notification is used.
  enum ECNChoice: String, ExpressibleByArgument, CaseIterable {
    case off, accept, request

    var policy: ECNPolicy {
      switch self {
      case .off: .off
      case .accept: .accept
      case .request: .request
      }
    }
  }

  func validate() throws {
    guard !interfaces.isEmpty else {
      throw ValidationError("Name at least one network interface: fsd start --iface eth0")
    }
    guard Set(interfaces).count == interfaces.count else {
      throw ValidationError("An interface is named twice.")
    }
    if let spinMicroseconds, spinMicroseconds > 1_000_000 {
      throw ValidationError("--spin-microseconds is at most 1000000.")
    }
    if let ringSize, !(64...65536).contains(ringSize) {
      throw ValidationError("--ring-size is between 64 and 65536.")
    }
    if let coalesceMicroseconds, !(0...10_000).contains(coalesceMicroseconds) {
      throw ValidationError("--coalesce-microseconds is between 0 and 10000.")
    }
    if let cores, case .failure(let invalid) = CoreList.parse(cores) {
      throw ValidationError("--cores: \(invalid.description).")
    }
  }

  func run() throws {
    let options = DaemonOptions(
      interfaces: interfaces,
      cores: try cores.map { try CoreList.parse($0).get().processors },
      attach: mode.preference, placement: placement.fixed, ringSize: ringSize,
      coalesceMicroseconds: coalesceMicroseconds, congestion: congestion.algorithm, ecn: ecn.policy,
      spinMicroseconds: spinMicroseconds, paths: try runtime.paths(),
      directoryIsOurs: directoryIsOurs, logFile: logFile)
    if foreground {
      try runInForeground(options)
    } else {
      try Background.start(options, arguments: arguments(options))
    }
  }

  private func runInForeground(_ options: DaemonOptions) throws {
    let report = ReadinessReport(descriptor: readyDescriptor)
    do {
      try Daemon.run(options) { report.ready($0) }
    } catch let failure as Failure {
      // In the background the person reads it from the pipe; the log keeps it as well.
      if readyDescriptor != nil { Log.note("not started: \(failure)") }
      report.failed(failure.description)
      throw readyDescriptor == nil ? failure as Error : ExitCode.failure
    }
  }

  /// The same command in the foreground.
  private func arguments(_ options: DaemonOptions) -> [String] {
    var list = ["start", "--foreground", "--runtime-dir", options.paths.directory]
    for interface in interfaces { list += ["--iface", interface] }
    if let cores { list += ["--cores", cores] }
    list += ["--mode", mode.rawValue, "--placement", placement.rawValue]
    list += ["--congestion", congestion.rawValue, "--ecn", ecn.rawValue]
    if let ringSize { list += ["--ring-size", String(ringSize)] }
    if let coalesceMicroseconds {
      list += ["--coalesce-microseconds", String(coalesceMicroseconds)]
    }
    if let spinMicroseconds { list += ["--spin-microseconds", String(spinMicroseconds)] }
    if let logFile { list += ["--log", logFile] }
    return list
  }
}
