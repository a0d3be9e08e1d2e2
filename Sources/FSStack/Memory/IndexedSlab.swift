/// A slab whose elements are found by a hash, and each of which may stand in one list of its owner.
///
/// A handle, as its parts are: copies share the elements.
@safe
struct IndexedSlab<Index: SlabIndex & BitwiseCopyable, Element> {
  private let elements: Slab<Index, Element>
  private let index: HashIndex
  /// The links of the lists that the owner keeps.
  let links: LinkTable<Index>

  init(capacity: Int) {
    elements = Slab(capacity: capacity)
    index = HashIndex(capacity: capacity)
    links = LinkTable(capacity: capacity)
  }

  /// Frees the memory; the handle and its copies are void afterwards.
  func deallocate() {
    elements.deallocate()
    index.deallocate()
    links.deallocate()
  }

  /// Elements in use.
  var count: UInt32 { elements.count }
  /// Elements that it can hold.
  var capacity: UInt32 { elements.capacity }
  /// One more than the highest index ever in use.
  var watermark: UInt32 { elements.watermark }
  var isFull: Bool { elements.isFull }

  /// Whether `id` is in use; any value may be asked for.
  func isAllocated(_ id: Index) -> Bool { elements.isAllocated(id) }

  /// The element under `hash` for which `matches` is true.
  @inline(__always)
  func find(_ hash: UInt64, where matches: (Index) -> Bool) -> Index? {
    index.find(hash) { matches(Index(raw: $0)) }.map(Index.init(raw:))
  }

  /// Takes an element in; nil when there is no room.
  func insert(_ element: Element, hash: UInt64) -> Index? {
    guard let id = elements.allocate(element) else { return nil }
    index.insert(hash, id.raw)
    return id
  }

  /// Forgets an element that stands in no list, and was inserted under `hash`.
  func remove(_ id: Index, hash: UInt64) {
    index.remove(hash, id.raw)
    elements.free(id)
  }

  /// The element at `id`, in place.
  subscript(_ id: Index) -> Element {
    @inline(__always)
    _read { yield elements[id] }
    @inline(__always)
    nonmutating _modify { yield &elements[id] }
  }
}
