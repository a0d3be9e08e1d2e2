import Glibc

/// A file descriptor that closes when the last reference goes. Received descriptors are wrapped
/// before anything can fail, so that none leaks.
final class Descriptor: Sendable {
  /// The number.
  let number: Int32
  /// Other processes have what it refers to, and may have made it block who closes it.
  private let isForeign: Bool

  /// Takes over `number`, which must be open and no one else's.
  init(adopting number: Int32, isForeign: Bool = false) {
    precondition(number >= 0, "a descriptor that is not open")
    self.number = number
    self.isForeign = isForeign
  }

  deinit {
    if isForeign { ForeignDescriptors.close(number) } else { close(number) }
  }
}
