import FSStack
import Glibc

/// What was changed on the system and has to be changed back, kept in a file: a daemon that was
/// killed leaves its changes, and the next one finds them there.
///
/// A line for each change. It is written before the change is made, and undoing what was not done
/// does no harm.
public final class RestoreJournal: @unchecked Sendable {
  private let path: String
  private let root: String
  private let transport: any EthtoolTransport
  private var entries: [JournalEntry] = []

  /// Creates a journal in the file at `path`. The file of an earlier daemon stays as it is until
  /// `undoStale`. `root` is put before /proc and /sys: tests have trees of other machines.
  public init(path: String, root: String = "", transport: any EthtoolTransport = KernelEthtool()) {
    self.path = path
    self.root = root
    self.transport = transport
  }

  /// Undoes what an earlier daemon left. Returns a sentence for each kind of change.
  public func undoStale() throws(DeviceError) -> [String] {
    guard unsafe access(path, F_OK) == 0 else { return [] }
    let lines = try TextFile.read(path).split(separator: "\n")
    let stale = lines.compactMap { JournalEntry(line: $0, root: root) }
    let rules = stale.count(where: \.isRule)
    var sentences = stale.filter { !$0.isRule }.map {
      "undid what an earlier daemon left: \($0.line)"
    }
    if rules > 0 { sentences.append("undid what an earlier daemon left: \(rules) flow rules") }
    sentences += undo(stale)
    _ = unsafe unlink(path)
    return sentences
  }

  /// Undoes everything, the last change first, and removes the file. Returns a sentence for each
  /// failure.
  public func undo() -> [String] {
    let failures = undo(entries)
    entries = []
    _ = unsafe unlink(path)
    return failures
  }

  /// Notes changes that are about to be made.
  func record(_ new: JournalEntry...) throws(DeviceError) { try record(new) }

  /// Notes changes that are about to be made, in this order.
  func record(_ new: [JournalEntry]) throws(DeviceError) {
    entries += new
    do throws(DeviceError) {
      try save()
    } catch {
      entries.removeLast(new.count)
      throw error
    }
  }

  /// Writes a line into a file of /proc or /sys, recording the one that was there.
  func replaceFile(_ path: String, with line: String) throws(DeviceError) {
    let present = try TextFile.readLine(path)
    guard present != line else { return }
    try record(.file(path: path, text: present))
    try TextFile.write(line + "\n", to: path)
  }

  /// Forgets the last changes that were noted: they have not been made, or are undone.
  func withdraw(_ count: Int) {
    entries.removeLast(count)
    // What stays in the file meanwhile is undone for nothing, which does no harm.
    try? save()
  }

  private func save() throws(DeviceError) {
    try TextFile.replace(path, with: entries.map { $0.line + "\n" }.joined())
  }

  private func undo(_ entries: [JournalEntry]) -> [String] {
    entries.reversed().compactMap { entry in
      do throws(DeviceError) {
        try entry.undo(by: transport)
        return nil
      } catch {
        return "could not undo \"\(entry.line)\": \(error)"
      }
    }
  }
}
