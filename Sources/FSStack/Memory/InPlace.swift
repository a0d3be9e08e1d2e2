import Synchronization

/// A field of this type makes the struct that has it one that only exists at an address.
///
/// Swift passes a struct whose fields are all loadable by value, also one that cannot be copied: a method
/// that does not mutate a large one gets a copy on the stack, field by field or by memcpy (2.2 KB for
/// `Engine`, a third of the time of a request). An atomic has no value that could be loaded, and so
/// neither has what it is part of: methods get the address.
struct InPlace: ~Copyable {
  private let anchor = Atomic<Bool>(false)
}
