import Glibc

/// What was changed on the system and has to be changed back, kept in a file: a daemon that was
/// killed leaves its changes, and the next one finds them there.
///
/// A line for each change. It is written before the change is made, and undoing what was not done
/// does no harm.
public final class RestoreJournal: @unchecked Sendable {
  /// A change.
  enum Entry: Equatable {
    /// These ports were added to ip_local_reserved_ports; they were not in it.
    case reservedPorts(PortSet)
    /// The feature was on and was switched off.
    case feature(interface: String, name: String)

    var line: String {
      switch self {
      case .reservedPorts(let ports): "reserved-ports \(ports.text)"
      case .feature(let interface, let name): "feature-off \(interface) \(name)"
      }
    }

    init?(line: Substring) {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("reserved-ports", 2): self = .reservedPorts(PortSet(text: words[1]))
      case ("feature-off", 3): self = .feature(interface: words[1], name: words[2])
      default: return nil
      }
    }

    /// Changes it back.
    func undo() throws(DeviceError) {
      switch self {
      case .reservedPorts(let ports):
        try ReservedPorts.release(ports)
      case .feature(let interface, let name):
        // With the interface its features are gone too.
        guard unsafe if_nametoindex(interface) != 0 else { return }
        try Ethtool(interface).setFeature(name, on: true)
      }
    }
  }

  private let path: String
  private var entries: [Entry] = []

  /// Creates a journal in the file at `path`. The file of an earlier daemon stays as it is until
  /// `undoStale`.
  public init(path: String) {
    self.path = path
  }

  /// Undoes what an earlier daemon left. Returns a sentence for each change.
  public func undoStale() throws(DeviceError) -> [String] {
    guard unsafe access(path, F_OK) == 0 else { return [] }
    let lines = try TextFile.read(path).split(separator: "\n")
    let stale = lines.compactMap { Entry(line: $0) }
    var sentences = stale.map { "undid what an earlier daemon left: \($0.line)" }
    sentences += RestoreJournal.undo(stale)
    _ = unsafe unlink(path)
    return sentences
  }

  /// Undoes everything, the last change first, and removes the file. Returns a sentence for each
  /// failure.
  public func undo() -> [String] {
    let failures = RestoreJournal.undo(entries)
    entries = []
    _ = unsafe unlink(path)
    return failures
  }

  /// Notes a change that is about to be made.
  func record(_ entry: Entry) throws(DeviceError) {
    entries.append(entry)
    let text = entries.map { $0.line + "\n" }.joined()
    do throws(DeviceError) {
      try TextFile.write(text, to: path)
    } catch {
      entries.removeLast()
      throw error
    }
  }

  private static func undo(_ entries: [Entry]) -> [String] {
    entries.reversed().compactMap { entry in
      do throws(DeviceError) {
        try entry.undo()
        return nil
      } catch {
        return "could not undo \"\(entry.line)\": \(error)"
      }
    }
  }
}
