import Testing

@testable import FSDevice
@testable import FSStack
@testable import fsd

private let near = IPAddress(v4: 10, 0, 0, 9)
private let far = IPAddress(v4: 192, 0, 2, 1)
private let gateway = IPAddress(v4: 10, 0, 0, 254)

private func bench() -> (PathDirectory, ImitationNetwork, [ImitationEngine]) {
  let network = ImitationNetwork()
  let engines = (0..<2).map { ImitationEngine(index: $0, processor: $0) }
  let directory = PathDirectory(
    engines: engines, network: network, interfaces: [ImitationNetwork.interface])
  network.routes[near] = Route(interface: 7, gateway: nil, source: nil, mtu: nil)
  network.routes[far] = Route(interface: 7, gateway: gateway, source: nil, mtu: 1400)
  return (directory, network, engines)
}

@Suite struct PathDirectoryTests {
  @Test func pathGoesToEveryEngine() throws {
    let (directory, _, engines) = bench()
    #expect(directory.accelerate(far))
    for engine in engines {
      let path = try #require(engine.paths[far])
      #expect(path.nextHop == ImitationNetwork.gatewayMAC)
      #expect(path.source == IPAddress(v4: 10, 0, 0, 1))
      #expect(path.mtu == 1400)
      #expect(path.interface == 0)
      #expect(path.vlan == nil)
    }
  }

  @Test func unresolvedNeighbourIsFilledInLater() throws {
    let (directory, _, engines) = bench()
    #expect(directory.accelerate(near))
    #expect(engines[0].paths[near] != nil)
    #expect(engines[0].paths[near]?.nextHop == nil)
    let address = MACAddress(2, 0, 0, 0, 0, 9)
    directory.neighbourChanged(interface: 7, address: near, macAddress: address)
    #expect(engines[0].paths[near]?.nextHop == address)
    #expect(engines[1].paths[near]?.nextHop == address)
    directory.neighbourChanged(interface: 7, address: near, macAddress: nil)
    #expect(engines[1].paths[near]?.nextHop == nil)
  }

  /// A socket that is bound to an address of the interface is an engine's, another one the kernel's.
  @Test func addressOfTheSocketIsTheInterfaces() {
    let (directory, _, _) = bench()
    #expect(directory.accelerate(far, from: IPAddress(v4: 10, 0, 0, 1)))
    #expect(!directory.accelerate(far, from: IPAddress(v4: 198, 51, 100, 7)))
    #expect(directory.accelerate(far, from: .anyIPv4))
  }

  @Test func everythingElseIsTheKernels() {
    let (directory, network, engines) = bench()
    network.routes[IPAddress(v4: 172, 16, 0, 1)] = Route(
      interface: 8, gateway: nil, source: nil, mtu: nil)
    for address in [
      IPAddress(v4: 172, 16, 0, 1), IPAddress(v4: 203, 0, 113, 1), .anyIPv4, .anyIPv6,
      IPAddress(v4: 127, 0, 0, 1), IPAddress(v4: 224, 0, 0, 1),
    ] {
      #expect(!directory.accelerate(address), "\(address)")
    }
    #expect(engines[0].paths.isEmpty)
  }

  @Test func vlanOnAManagedInterfaceIsTagged() {
    let (directory, network, engines) = bench()
    network.links[9] = Link(
      index: 9, name: "test0.5", isUp: true, mtu: 1496,
      macAddress: ImitationNetwork.interfaceMAC, kind: "vlan", parent: 7, vlan: 5)
    network.addressesByLink[9] = [IPAddress(v4: 10, 5, 0, 1)]
    let there = IPAddress(v4: 10, 5, 0, 2)
    network.routes[there] = Route(interface: 9, gateway: nil, source: nil, mtu: nil)
    #expect(directory.accelerate(there))
    #expect(engines[0].paths[there]?.vlan == 5)
    #expect(engines[0].paths[there]?.interface == 0)
    #expect(engines[0].paths[there]?.mtu == 1496)
    #expect(
      directory.localAddresses().map(\.address)
        == [IPAddress(v4: 10, 0, 0, 1), IPAddress(v4: 10, 5, 0, 1)])
  }

  @Test func changedRoutesAreLookedUpAgain() {
    let (directory, network, engines) = bench()
    #expect(directory.accelerate(far))
    #expect(directory.accelerate(near))
    network.routes[far] = nil
    network.routes[near] = Route(interface: 7, gateway: gateway, source: nil, mtu: nil)
    directory.routesChanged()
    #expect(directory.generation == 2)
    for engine in engines {
      #expect(engine.routeGeneration == 2)
      #expect(engine.paths[far] == nil)
      #expect(engine.paths[near]?.nextHop == ImitationNetwork.gatewayMAC)
    }
  }

  @Test func interfaceChangesReachTheEngines() {
    let (directory, network, engines) = bench()
    #expect(directory.accelerate(near))
    var link =
      network.links[7]
      ?? Link(
        index: 7, name: "", isUp: true, mtu: 0, macAddress: MACAddress(), kind: "")
    directory.linkChanged(link)
    #expect(engines[0].interfaces.isEmpty, "nothing has changed")
    link.mtu = 9000
    network.links[7] = link
    directory.linkChanged(link)
    #expect(engines[1].interfaces[0]?.1 == 9000)
    #expect(engines[1].paths[near]?.mtu == 9000)
  }

  @Test func tableIsBounded() {
    let (directory, network, engines) = bench()
    for number in 0..<UInt32(PathDirectory.limit + 1) {
      let address = IPAddress(
        v4: 192, UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255))
      network.routes[address] = Route(interface: 7, gateway: gateway, source: nil, mtu: nil)
      #expect(directory.accelerate(address))
    }
    #expect(directory.count == PathDirectory.limit * 7 / 8 + 1)
    #expect(engines[0].paths.count == directory.count)
    // The oldest are gone, and applications ask again; what is known already makes no room for itself.
    #expect(engines[0].paths[IPAddress(v4: 192, 0, 0, 0)] == nil)
    #expect(directory.generation == 2)
    let count = directory.count
    directory.routesChanged()
    #expect(directory.count == count && directory.generation == 3)
  }
}
