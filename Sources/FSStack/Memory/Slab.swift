import CProcessor

/// An index into one kind of slab. Typed, so that a connection's number is never taken for a
/// channel's.
protocol SlabIndex: Equatable {
  var raw: UInt32 { get }
  init(raw: UInt32)
}

extension SlabIndex {
  /// The index that is none.
  static var none: Self { Self(raw: .max) }
}

/// A fixed number of elements of one type, allocated and freed in constant time.
///
/// The slab is a handle: copies share the elements. It lends an element in place through its
/// subscript; no pointer leaves it. Nothing is touched before it is first used, so a large capacity
/// costs address space only.
@safe
struct Slab<Index: SlabIndex, Element> {
  private struct State {
    var firstFree: UInt32
    var watermark: UInt32
    var count: UInt32
  }

  private let elements: UnsafeMutablePointer<Element>
  private let links: UnsafeMutablePointer<UInt32>
  private let state: UnsafeMutablePointer<State>
  /// Elements the slab can hold.
  let capacity: UInt32

  private static var allocated: UInt32 { .max - 1 }
  private static var endOfList: UInt32 { .max }

  init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(UInt32.max) - 1)
    self.capacity = UInt32(capacity)
    unsafe elements = LargeMemory.allocate(capacity)
    unsafe links = LargeMemory.allocate(capacity)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State(firstFree: Self.endOfList, watermark: 0, count: 0))
  }

  /// Frees the memory; the handle and its copies are void afterwards.
  func deallocate() {
    unsafe elements.deallocate()
    unsafe links.deallocate()
    unsafe state.deallocate()
  }

  /// Elements in use.
  var count: UInt32 { unsafe state.pointee.count }

  var isFull: Bool { count == capacity }

  /// One more than the highest index ever in use.
  var watermark: UInt32 { unsafe state.pointee.watermark }

  /// Takes a free place and puts `element` there; nil when the slab is full.
  func allocate(_ element: Element) -> Index? {
    var index = unsafe state.pointee.firstFree
    if index != Self.endOfList {
      unsafe state.pointee.firstFree = unsafe links[Int(index)]
    } else {
      index = unsafe state.pointee.watermark
      guard index < capacity else { return nil }
      unsafe state.pointee.watermark = index + 1
    }
    unsafe state.pointee.count += 1
    unsafe links[Int(index)] = Self.allocated
    unsafe (elements + Int(index)).initialize(to: element)
    return Index(raw: index)
  }

  /// Gives a place back.
  func free(_ index: Index) {
    precondition(isAllocated(index))
    unsafe (elements + Int(index.raw)).deinitialize(count: 1)
    unsafe links[Int(index.raw)] = unsafe state.pointee.firstFree
    unsafe state.pointee.firstFree = index.raw
    unsafe state.pointee.count -= 1
  }

  /// Whether `index` is in use; any value may be asked for.
  func isAllocated(_ index: Index) -> Bool {
    guard index.raw < watermark else { return false }
    return unsafe links[Int(index.raw)] == Self.allocated
  }

  /// Asks for the element in the cache, or for its first bytes.
  @inline(__always)
  func prefetch(_ index: Index, bytes: Int = MemoryLayout<Element>.size) {
    let first = unsafe UnsafeRawPointer(elements + Int(index.raw))
    for offset in stride(from: 0, to: bytes, by: 64) {
      unsafe fs_prefetch(first + offset)
    }
  }

  /// The element at `index`, in place.
  subscript(_ index: Index) -> Element {
    @inline(__always)
    _read {
      precondition(index.raw < capacity)
      yield unsafe elements[Int(index.raw)]
    }
    @inline(__always)
    nonmutating _modify {
      precondition(index.raw < capacity)
      yield unsafe &elements[Int(index.raw)]
    }
  }
}
