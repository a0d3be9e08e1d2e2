import Synchronization

/// A free-running index in the shared memory, alone on its cache line.
public typealias SharedIndex = UnsafeMutablePointer<Atomic<UInt32>>

/// The consuming end of a single-producer single-consumer ring in shared memory.
///
/// The elements are copied out; nothing in the shared memory is read twice. The other side's index
/// is believed only as far as it is possible: one that claims more elements than the ring holds
/// is reported.
@safe
public struct RingConsumer<Element: BitwiseCopyable> {
  @usableFromInline let elements: UnsafeMutablePointer<Element>
  @usableFromInline let mask: UInt32
  @usableFromInline let producerIndex: SharedIndex
  @usableFromInline let consumerIndex: SharedIndex
  @usableFromInline var head: UInt32 = 0

  /// Takes up the consuming end of an empty ring of `capacity` elements, a power of two.
  public init(
    elements: UnsafeMutablePointer<Element>, capacity: UInt32, producerIndex: SharedIndex,
    consumerIndex: SharedIndex
  ) {
    unsafe self.elements = unsafe elements
    mask = capacity - 1
    unsafe self.producerIndex = unsafe producerIndex
    unsafe self.consumerIndex = unsafe consumerIndex
  }

  /// Elements ready to be read, or nil when the producer's index is impossible.
  @inlinable
  public func readyCount() -> UInt32? {
    let ready = unsafe producerIndex.pointee.load(ordering: .acquiring) &- head
    return ready <= mask + 1 ? ready : nil
  }

  /// A copy of the element `position` places after the first unread one.
  @inlinable
  public func element(at position: UInt32) -> Element {
    unsafe elements[Int((head &+ position) & mask)]
  }

  /// Gives the first `count` elements back to the producer.
  @inlinable
  public mutating func release(_ count: UInt32) {
    head = head &+ count
    unsafe consumerIndex.pointee.store(head, ordering: .releasing)
  }
}

/// The producing end of a single-producer single-consumer ring in shared memory.
@safe
public struct RingProducer<Element: BitwiseCopyable> {
  @usableFromInline let elements: UnsafeMutablePointer<Element>
  @usableFromInline let mask: UInt32
  @usableFromInline let producerIndex: SharedIndex
  @usableFromInline let consumerIndex: SharedIndex
  @usableFromInline var tail: UInt32 = 0
  @usableFromInline var published: UInt32 = 0
  @usableFromInline var consumerSeen: UInt32 = 0

  /// Takes up the producing end of an empty ring of `capacity` elements, a power of two.
  public init(
    elements: UnsafeMutablePointer<Element>, capacity: UInt32, producerIndex: SharedIndex,
    consumerIndex: SharedIndex
  ) {
    unsafe self.elements = unsafe elements
    mask = capacity - 1
    unsafe self.producerIndex = unsafe producerIndex
    unsafe self.consumerIndex = unsafe consumerIndex
  }

  /// Free places, looked up anew only when fewer than `wanted` are known to be free; nil when the
  /// consumer's index is impossible.
  @inlinable
  public mutating func freeCount(atLeast wanted: UInt32 = 1) -> UInt32? {
    let known = mask + 1 - (tail &- consumerSeen)
    if known >= wanted { return known }
    let seen = unsafe consumerIndex.pointee.load(ordering: .acquiring)
    guard tail &- seen <= mask + 1 else { return nil }
    consumerSeen = seen
    return mask + 1 - (tail &- seen)
  }

  /// Writes the next element, which the consumer sees after `publish()`. There must be room.
  @inlinable
  public mutating func append(_ element: Element) {
    precondition(tail &- consumerSeen <= mask)
    unsafe elements[Int(tail & mask)] = element
    tail = tail &+ 1
  }

  /// Whether the consumer has taken everything that was published.
  @inlinable
  public var isDrained: Bool {
    unsafe consumerIndex.pointee.load(ordering: .relaxed) == published
  }

  /// Whether elements wait for `publish()`.
  @inlinable public var hasUnpublished: Bool { tail != published }

  /// Shows the consumer everything appended.
  @inlinable
  public mutating func publish() {
    published = tail
    unsafe producerIndex.pointee.store(tail, ordering: .releasing)
  }
}
