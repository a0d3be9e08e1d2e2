import CXDP
import Glibc

/// What the kernel tells of changes that ethtool makes: queues, rings, features, hash and table, flow rules
/// where it tells of them at all. Generic netlink, group "monitor" of family "ethtool".
///
/// Belongs to the network namespace of the thread that makes it. For one thread at a time.
public final class EthtoolMonitor: @unchecked Sendable {
  private let socket: NetlinkSocket
  private let family: Int32
  /// Readable when `changedInterfaces` has something to say.
  public let descriptor: Int32

  /// Subscribes. Kernels before 5.6 have no such notifications.
  public init() throws(DeviceError) {
    socket = try NetlinkSocket(protocol: NETLINK_GENERIC, subject: "ethtool")
    descriptor = socket.descriptor
    // struct genlmsghdr: cmd, version, reserved.
    var request = NetlinkRequest(
      type: Int32(GENL_ID_CTRL), flags: 0, fixedPart: [UInt8(CTRL_CMD_GETFAMILY), 1, 0, 0])
    request.attribute(CTRL_ATTR_FAMILY_NAME, Array("ethtool\0".utf8))
    guard let answer = try socket.request(request).first else {
      throw .unsupported("the kernel does not tell of ethtool's changes")
    }
    let attributes = answer.attributes(after: 4)
    family = Int32(attributes[Int32(CTRL_ATTR_FAMILY_ID)]?.load(0, as: UInt16.self) ?? 0)
    let groups = attributes[Int32(CTRL_ATTR_MCAST_GROUPS)]?.attributes(from: 0) ?? [:]
    let monitor = groups.values.map { $0.attributes(from: 0) }.first {
      $0[Int32(CTRL_ATTR_MCAST_GRP_NAME)]?.text == "monitor"
    }
    guard let group = monitor?[Int32(CTRL_ATTR_MCAST_GRP_ID)]?.load(0, as: UInt32.self) else {
      throw .unsupported("the kernel does not tell of ethtool's changes")
    }
    try socket.join([group])
  }

  /// The numbers of the interfaces of which something has changed since the last time; nil: of any, because
  /// notifications were lost. Never waits.
  public func changedInterfaces() -> Set<Int>? {
    var changed: Set<Int> = []
    var isComplete = true
    while true {
      switch socket.receiveWaiting() {
      case .messages(let messages):
        for message in messages where message.type == family {
          // Every message begins with a header attribute, number 1, in which 1 is the interface's number.
          let header = message.attributes(after: 4)[1]?.attributes(from: 0)
          if let index = header?[1]?.load(0, as: UInt32.self) { changed.insert(Int(index)) }
        }
      case .overrun: isComplete = false
      case .nothing: return isComplete ? changed : nil
      }
    }
  }
}
