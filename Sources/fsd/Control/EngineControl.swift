import FSRing
import FSStack

/// What the control thread asks of one engine. Each call is carried out on the engine's own thread
/// and returns when it is done. Control actions are rare, so an existential costs nothing here, and
/// tests put an imitation in an engine's place.
protocol EngineControl: AnyObject {
  /// The engine's number, from 0.
  var index: Int { get }
  /// The processor it runs on.
  var processor: Int { get }

  /// Takes up a channel; nil when the engine has no room for one more.
  func attach(_ channel: Channel) -> ChannelID?
  /// Ends a channel. Its connections are reset, or closed in good order; `EngineNotice.released`
  /// follows when the last of them is gone.
  func detach(_ channel: ChannelID, _ end: Engine.ApplicationEnd)
  /// Nothing here names a released channel any more: its number may be another's from now on.
  func free(_ channel: ChannelID)

  /// Carries out what the channel's application has asked for until now.
  func catchUp(_ channel: ChannelID)
  /// Whether one of the claims is on a connection.
  func isClaimed(_ flow: FlowAddress, by claims: [Engine.ExportClaim]) -> Bool
  /// Gives a connection up, if one of the claims is on it.
  func exportConnection(
    _ flow: FlowAddress, _ claims: [Engine.ExportClaim]
  ) -> Result<ExportedConnection, Engine.ExportRefusal>
  /// The connections that a claim is on.
  func exportableConnections(_ claim: Engine.ExportClaim) -> [FlowAddress]

  /// False when the engine has no room for one more.
  func addListener(_ listener: ListenerDescription) -> Bool
  /// Its options or its backlog are others than before.
  func updateListener(_ listener: ListenerDescription)
  func removeListener(_ number: UInt32)
  /// Makes the channel an acceptor; false when the engine refuses.
  func join(_ number: UInt32, channel: ChannelID, remote: Bool) -> Bool
  func leave(_ number: UInt32, channel: ChannelID)
  /// Connections whose local port this is.
  func connectionCount(onPort port: UInt16) -> Int

  func setLocalAddresses(_ addresses: [LocalAddress])
  func updateInterface(_ interface: Int, macAddress: MACAddress, mtu: Int)
  func setPaths(_ paths: [PathConfiguration])
  func removePaths(_ destinations: [IPAddress])
  func advanceRouteGeneration()

  /// Everything the engine and its thread have counted.
  func snapshot() -> EngineSnapshot
}

/// An address of a managed interface.
struct LocalAddress: Equatable, Sendable {
  /// The interface, as engines number them.
  var interface: Int
  var address: IPAddress
}

/// What engines need to know about a listener.
struct ListenerDescription: Equatable, Sendable {
  /// The daemon's number for it.
  var number: UInt32
  /// The address it is bound to: specific, or one of the two unspecified ones.
  var address: IPAddress
  var port: UInt16
  /// For `::`: whether IPv4 connections are left out.
  var ipv6Only: Bool
  var backlog: Int
  var options = ListenerOptions()
}

/// What an engine tells the control thread unasked.
enum EngineNotice: Sendable {
  /// The last connection of a detached channel is gone. Its number is free, and its memory unmapped, when the
  /// notice has been looked at: before that comes a violation's, after which nobody names the channel.
  case released(engine: Int, channel: Channel, id: ChannelID)
  /// An application wrote garbage into a channel; the engine has closed it.
  case violation(engine: Int, channel: Channel, reason: String)
  /// Destinations whose path is unknown or out of date.
  case pathsWanted([IPAddress])
}
