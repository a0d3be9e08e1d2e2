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

  private let base: UnsafeMutablePointer<Links>
  /// Base-2 logarithm of the distance of two elements' links.
  private let shift: Int

  /// A table in memory of its own.
  init(capacity: Int) {
    unsafe base = LargeMemory.allocate(capacity)
    unsafe base.initialize(repeating: Links(previous: 0, next: 0), count: capacity)
    shift = 0
  }

  /// A table that is one column of rows. They are the owner's to free.
  init(column: Int, of rows: LinkRows<Index>) {
    unsafe base = rows.column(column)
    shift = LinkRows<Index>.shift
  }

  /// Frees memory of its own.
  func deallocate() {
    if shift == 0 { unsafe base.deallocate() }
  }

  @inline(__always)
  private func links(_ number: UInt32) -> UnsafeMutablePointer<Links> {
    unsafe base + Int(number) &<< shift
  }

  /// Whether the element is in a list.
  func contains(_ index: Index) -> Bool { unsafe links(index.raw).pointee.next != 0 }

  /// Appends an element that is in no list.
  func append(_ index: Index, to list: inout ListHead<Index>) {
    precondition(!contains(index))
    unsafe links(index.raw).pointee = Links(
      previous: list.last == .none ? 1 : list.last.raw + 2, next: 1)
    if list.last == .none {
      list.first = index
    } else {
      unsafe links(list.last.raw).pointee.next = index.raw + 2
    }
    list.last = index
  }

  /// Removes an element from the list it is in, which must be `list`.
  func remove(_ index: Index, from list: inout ListHead<Index>) {
    let own = unsafe links(index.raw).pointee
    precondition(own.next != 0)
    if own.previous == 1 {
      list.first = own.next == 1 ? .none : Index(raw: own.next - 2)
    } else {
      unsafe links(own.previous - 2).pointee.next = own.next
    }
    if own.next == 1 {
      list.last = own.previous == 1 ? .none : Index(raw: own.previous - 2)
    } else {
      unsafe links(own.next - 2).pointee.previous = own.previous
    }
    unsafe links(index.raw).pointee = Links(previous: 0, next: 0)
  }

  /// The element after `index` in its list, or none.
  func next(after index: Index) -> Index {
    let next = unsafe links(index.raw).pointee.next
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
