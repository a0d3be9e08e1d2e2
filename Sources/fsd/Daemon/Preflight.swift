import CLinux
import FSDevice
import Glibc

/// What can be said before anything is changed.
enum Preflight {
  /// The capabilities that the daemon needs, by number.
  private static let capabilities: [(number: UInt64, name: String)] = [
    (12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (14, "CAP_IPC_LOCK"), (39, "CAP_BPF"),
  ]
  /// CAP_SYS_ADMIN stands for CAP_BPF.
  private static let systemAdministration: UInt64 = 21

  /// Whether this process may do what a daemon does.
  static func checkPrivileges() throws(Failure) {
    let missing = missingCapabilities(effective: effectiveCapabilities())
    guard !missing.isEmpty else { return }
    throw Failure(
      "fsd start must run as root, or with the capabilities that are missing here: "
        + missing.joined(separator: ", "))
  }

  /// Names of the needed capabilities that a mask lacks.
  static func missingCapabilities(effective: UInt64) -> [String] {
    capabilities.filter { capability in
      let isHeld = effective & (1 << capability.number) != 0
      let isCovered =
        capability.name == "CAP_BPF" && effective & (1 << systemAdministration) != 0
      return !isHeld && !isCovered
    }.map(\.name)
  }

  private static func effectiveCapabilities() -> UInt64 {
    let prefix = "CapEff:"
    let status = try? TextFile.read("/proc/self/status")
    let line = status?.split(separator: "\n").first { $0.hasPrefix(prefix) }
    let digits = line?.dropFirst(prefix.count).drop { $0 == "\t" || $0 == " " } ?? ""
    return UInt64(digits, radix: 16) ?? 0
  }

  /// Whether this kernel has AF_XDP.
  static func checkKernel() throws(Failure) {
    // AF_XDP; its number is in no header that Swift sees.
    let number = socket(44, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else {
      if errno == EAFNOSUPPORT {
        throw Failure(
          "this kernel has no AF_XDP sockets; it needs Linux 5.11 or later, built with "
            + "CONFIG_XDP_SOCKETS")
      }
      throw Failure("an AF_XDP socket cannot be opened: \(SystemError.text(of: errno))")
    }
    close(number)
  }

  /// The interfaces by name.
  static func interfaces(_ names: [String]) throws(Failure) -> [NetworkInterface] {
    var found: [NetworkInterface] = []
    for name in names {
      do throws(DeviceError) {
        found.append(try NetworkInterface(named: name))
      } catch .noSuchInterface {
        throw Failure(
          "there is no network interface '\(name)'; the interfaces here are "
            + existingInterfaces().joined(separator: ", "))
      } catch {
        throw Failure("\(error)")
      }
    }
    return found
  }

  private static func existingInterfaces() -> [String] {
    guard let list = unsafe if_nameindex() else { return [] }
    defer { unsafe if_freenameindex(list) }
    var names: [String] = []
    var position = 0
    while let name = unsafe list[position].if_name {
      names.append(unsafe String(cString: name))
      position += 1
    }
    return names
  }

  /// The processors for engines that the user has chosen, or those this process may use.
  static func processors(_ chosen: [Int]?) throws -> [Int] {
    let allowed = try ProcessorSet.allowed().members
    guard let chosen else { return allowed }
    let unusable = chosen.filter { !allowed.contains($0) }
    guard unusable.isEmpty else {
      throw Failure(
        "--cores: there is no processor \(unusable.map(String.init).joined(separator: ", ")) to "
          + "run on; this process may use \(allowed.map(String.init).joined(separator: ","))")
    }
    return chosen
  }
}
