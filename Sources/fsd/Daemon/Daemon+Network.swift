import FSDevice
import FSStack

// The network as the kernel sees it.
extension Daemon {
  func startNetwork(
    _ interfaces: [NetworkInterface], activePorts range: ClosedRange<UInt16>
  ) throws {
    let network = try NetworkMirror()
    self.network = network
    let paths = PathDirectory(
      engines: engines, network: network,
      interfaces: interfaces.enumerated().map { number, interface in
        ManagedInterface(
          number: number, name: interface.name, index: interface.index,
          macAddress: interface.macAddress, mtu: interface.mtu)
      })
    self.paths = paths
    activePorts = ActivePorts(range: range, devices: devices, engines: engines)
    updateAddresses()
    // What changed before the mirror was there.
    for link in network.links.values { paths.linkChanged(link) }
    _ = try loop.add(network.descriptor) { [unowned self] in followNetwork() }
    followCards()
    _ = try loop.add(outbox.event.descriptor.number) { [unowned self] in
      for notice in outbox.take() { server?.handle(notice) }
    }
  }

  /// Cards are looked at again when the kernel says that ethtool has changed something, when a link comes
  /// up, and from time to time, as older kernels say nothing of hash and rules.
  private func followCards() {
    guard steering?.needsReview == true else { return }
    do throws(DeviceError) {
      let monitor = try EthtoolMonitor()
      _ = try? loop.add(monitor.descriptor) { [unowned self] in
        let changed = monitor.changedInterfaces()
        let ours = devices.contains { changed?.contains($0.interface.index) ?? true }
        if ours { steering?.review(engines) }
      }
      self.monitor = monitor
    } catch {
      Log.note("changes of the cards are noticed later: \(error)")
    }
  }

  private func updateAddresses() {
    guard let paths else { return }
    let addresses = paths.localAddresses()
    for engine in engines { engine.setLocalAddresses(addresses) }
    for (number, device) in devices.enumerated() {
      device.setAddresses(
        Set(addresses.lazy.filter { $0.interface == number }.map(\.address)))
    }
  }

  private func followNetwork() {
    guard let network, let paths else { return }
    var addressesChanged = false
    var routesChanged = false
    for change in network.processNotifications() {
      switch change {
      case .link(let link):
        paths.linkChanged(link)
        if link.isUp, devices.contains(where: { $0.interface.index == link.index }) {
          steering?.review(engines)
        }
      case .linkRemoved(let index): noteLoss(ofLink: index)
      case .addresses: addressesChanged = true
      case .neighbour(let interface, let address, let macAddress):
        paths.neighbourChanged(
          interface: interface, address: address, macAddress: macAddress)
      case .routes: routesChanged = true
      case .resynchronised:
        for link in network.links.values { paths.linkChanged(link) }
        addressesChanged = true
        routesChanged = true
      }
    }
    if addressesChanged { updateAddresses() }
    if addressesChanged || routesChanged { paths.routesChanged() }
  }

  private func noteLoss(ofLink index: Int) {
    guard let device = devices.first(where: { $0.interface.index == index }) else { return }
    Log.note("interface \(device.interface.name) is gone; restart the daemon when it is back")
  }
}
