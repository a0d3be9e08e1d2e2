// What only few connections have.

extension Engine {
  /// What a connection has of it; the usual values, if it has nothing.
  @inline(__always)
  func uncommon(_ id: ConnectionID) -> UncommonState {
    let state = connections[id].uncommon
    return state == .none ? UncommonState() : uncommonStates[state]
  }

  /// Changes it; the connection has its own from now on.
  @inline(__always)
  func changeUncommon(_ id: ConnectionID, _ body: (inout UncommonState) -> Void) {
    if connections[id].uncommon == .none { beginUncommon(id) }
    body(&uncommonStates[connections[id].uncommon])
  }

  @inline(never)
  private func beginUncommon(_ id: ConnectionID) {
    guard let state = uncommonStates.allocate(UncommonState()) else {
      preconditionFailure("there is one for each connection")
    }
    connections[id].uncommon = state
  }

  /// The connection is being forgotten.
  func endUncommon(_ id: ConnectionID) {
    guard connections[id].uncommon != .none else { return }
    uncommonStates.free(connections[id].uncommon)
    connections[id].uncommon = .none
  }
}
