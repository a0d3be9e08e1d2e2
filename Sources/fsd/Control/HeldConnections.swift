import FSStack

/// Connections that are the kernel's now, and whose sockets some process may still fetch.
struct HeldConnections {
  private struct Held {
    var socket: Descriptor
    var waiting: Set<ProcessNumber>
  }

  private var held: [FlowAddress: Held] = [:]
  private var flows: [ProcessNumber: Set<FlowAddress>] = [:]

  /// Sockets that are held.
  var count: Int { held.count }

  /// Keeps a socket for the processes that may ask for it; for none, it closes.
  mutating func hold(_ flow: FlowAddress, _ socket: Descriptor, for waiting: Set<ProcessNumber>) {
    guard !waiting.isEmpty else { return }
    held[flow] = Held(socket: socket, waiting: waiting)
    for process in waiting { flows[process, default: []].insert(flow) }
  }

  /// The socket, if the process may still ask for it; then no more.
  mutating func take(_ flow: FlowAddress, by process: ProcessNumber) -> Descriptor? {
    guard var entry = held[flow], entry.waiting.remove(process) != nil else { return nil }
    held[flow] = entry.waiting.isEmpty ? nil : entry
    flows[process]?.remove(flow)
    if flows[process]?.isEmpty == true { flows[process] = nil }
    return entry.socket
  }

  /// The process will ask for nothing any more.
  mutating func forget(_ process: ProcessNumber) {
    for flow in flows[process] ?? [] { _ = take(flow, by: process) }
  }

  /// A child may ask for whatever its parent may.
  mutating func inherit(_ child: ProcessNumber, from parent: ProcessNumber) {
    for flow in flows[parent] ?? [] {
      held[flow]?.waiting.insert(child)
      flows[child, default: []].insert(flow)
    }
  }
}
