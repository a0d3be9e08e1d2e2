import CProcessor

/// The ends of one list whose links are in a `LinkTable`.
struct ListHead<Index: SlabIndex & BitwiseCopyable>: BitwiseCopyable {
  var first: Index = .none
  var last: Index = .none

  var isEmpty: Bool { first == .none }
}

/// The links of doubly linked lists of slab elements. An element is in at most one of the lists that
/// share a table; joining, leaving and asking take constant time.
@safe
struct LinkTable<Index: SlabIndex & BitwiseCopyable> {
  private struct Links {
    var previous: UInt32
    /// The next element; 0 when the element is in no list, else its number plus two; 1 ends a list.
    var next: UInt32
  }

  private let links: UnsafeMutablePointer<Links>

  init(capacity: Int) {
    unsafe links = LargeMemory.allocate(capacity)
    unsafe links.initialize(repeating: Links(previous: 0, next: 0), count: capacity)
  }

  /// Frees the memory.
  func deallocate() {
    unsafe links.deallocate()
  }

  /// Whether the element is in a list.
  func contains(_ index: Index) -> Bool { unsafe links[Int(index.raw)].next != 0 }

  /// Asks for the element's links in the cache.
  @inline(__always)
  func prefetch(_ index: Index) { unsafe fs_prefetch(links + Int(index.raw)) }

  /// Appends an element that is in no list.
  func append(_ index: Index, to list: inout ListHead<Index>) {
    precondition(!contains(index))
    unsafe links[Int(index.raw)] = Links(
      previous: list.last == .none ? 1 : list.last.raw + 2, next: 1)
    if list.last == .none {
      list.first = index
    } else {
      unsafe links[Int(list.last.raw)].next = index.raw + 2
    }
    list.last = index
  }

  /// Removes an element from the list it is in, which must be `list`.
  func remove(_ index: Index, from list: inout ListHead<Index>) {
    let own = unsafe links[Int(index.raw)]
    precondition(own.next != 0)
    if own.previous == 1 {
      list.first = own.next == 1 ? .none : Index(raw: own.next - 2)
    } else {
      unsafe links[Int(own.previous - 2)].next = own.next
    }
    if own.next == 1 {
      list.last = own.previous == 1 ? .none : Index(raw: own.previous - 2)
    } else {
      unsafe links[Int(own.next - 2)].previous = own.previous
    }
    unsafe links[Int(index.raw)] = Links(previous: 0, next: 0)
  }

  /// The element after `index` in its list, or none.
  func next(after index: Index) -> Index {
    let next = unsafe links[Int(index.raw)].next
    return next < 2 ? .none : Index(raw: next - 2)
  }

  /// Takes the first element out of the list.
  func popFirst(of list: inout ListHead<Index>) -> Index? {
    guard !list.isEmpty else { return nil }
    let index = list.first
    remove(index, from: &list)
    return index
  }
}
