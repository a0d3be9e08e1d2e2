/// Something in the laboratory did not work; the message is for a person.
public struct LaboratoryError: Error, CustomStringConvertible {
  /// What did not work.
  public let description: String

  /// Creates an error.
  public init(_ description: String) {
    self.description = description
  }
}
