import FSDevice
import FSStack

/// The kernel's routes, neighbours, links and addresses as the control thread asks for them: on a
/// real daemon the `NetworkMirror`, in tests an imitation.
protocol NetworkView: AnyObject {
  var links: [Int: Link] { get }
  func addresses(on interface: Int) -> [IPAddress]
  func route(to destination: IPAddress, from source: IPAddress?) -> Route?
  func resolveNeighbour(interface: Int, address: IPAddress) -> MACAddress?
}

extension NetworkMirror: NetworkView {}

/// A network interface that the engines serve.
struct ManagedInterface: Equatable, Sendable {
  /// Its position among the interfaces, which is its number in every engine.
  var number: Int
  var name: String
  /// The kernel's index for it.
  var index: Int
  var macAddress: MACAddress
  var mtu: Int
}
