/// The number of a path.
struct PathID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// The paths that the control plane has resolved for this engine.
struct PathTable {
  let paths: Slab<PathID, PathConfiguration>
  private let index: HashIndex
  private let secret: Secret

  init(capacity: Int, secret: Secret) {
    paths = Slab(capacity: capacity)
    index = HashIndex(capacity: capacity)
    self.secret = secret
  }

  /// Frees the memory.
  func deallocate() {
    paths.deallocate()
    index.deallocate()
  }

  /// The path to a destination.
  func find(_ destination: IPAddress) -> PathConfiguration? {
    findID(destination).map { paths[$0] }
  }

  private func findID(_ destination: IPAddress) -> PathID? {
    index.find(secret.hash(destination)) {
      paths[PathID(raw: $0)].destination == destination
    }.map(PathID.init(raw:))
  }

  /// Enters or replaces a path. A full table drops nothing it has: the new path is not kept, and is
  /// asked for again.
  func set(_ path: PathConfiguration) {
    if let id = findID(path.destination) {
      paths[id] = path
    } else if let id = paths.allocate(path) {
      index.insert(secret.hash(path.destination), id.raw)
    }
  }

  /// Forgets a path.
  func remove(_ destination: IPAddress) {
    guard let id = findID(destination) else { return }
    index.remove(secret.hash(destination), id.raw)
    paths.free(id)
  }
}
